# A service behind a forwarded port that also calls out, as SIP's phones do: what it sends leaves by the forwarded port, and
# whoever calls it there reaches it, the peer that it has just talked to as well as others.
cat >"$WORK/rules" <<RULES
[default]
policy=accept
[forward]
proto=udp dstports=15060-15060 to=$ALICE:5060
RULES
cat >"$WORK/registrar.py" <<PYTHON
import pathlib, socket, sys

PHONE = ("$FIREWALL", 15060)

def station(address, port):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, port))
    udp.settimeout(20)
    return udp

def received(udp, wanted):
    """The next datagram must be this one, from the forwarded port."""
    message, sender = udp.recvfrom(2048)
    print(message, "from", sender, "at", udp.getsockname(), flush=True)
    if (message, sender) != (wanted, PHONE):
        sys.exit(f"not {wanted!r} from {PHONE}")

registrar = station("$UPLINK", 5060)
callers = registrar, station("$UPLINK", 5062), station("10.0.0.41", 5060), station("10.0.0.41", 40000)
pathlib.Path("$WORK/registrar-ready").touch()
received(registrar, b"register")
for caller in callers:
    caller.sendto(b"call", PHONE)
    received(caller, b"answer to call")
PYTHON
firewall "rules=$WORK/rules"
ip addr add 10.0.0.41/32 dev "$(uplink_device)"
client alice "$ALICE" tools=yes
rm -f "$WORK/registrar-ready"
python3 "$WORK/registrar.py" &
registrar=$!
await 20 'the registrar' test -e "$WORK/registrar-ready"
in_client alice "/tools/phone $UPLINK >/tmp/phone 2>&1 &"
wait "$registrar" || fail 'the registrar is not content'
