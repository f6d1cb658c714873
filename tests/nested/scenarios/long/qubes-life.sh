# What happens to a firewall qube in its life, in the order of dom0's qubesd: it starts with ten clients waiting, gets another netvm,
# its netvm is restarted, clients come and go, an address is used again, its netvm is taken away, it is shut down without uplink and
# without QubesDB; it starts without a netvm and gets one later.
# limit 2400
DISPOSABLE=10.138.3.7
# An address that dom0 has whatever its vifs are.
FAR=10.139.1.1
attach_net() {
    xl network-attach fw mac=00:16:3e:5e:6c:00 "backend=$1" "ip=$2" script=/bin/true || fail 'xl network-attach fw'
    await 120 'the uplink to be connected' vif_connected "$(id_of "$1")" fw
    says fw "our address is $2"
}
# write_all ADDRESS GATEWAY: all keys of the qube with that netvm, and the rules of the client that runs.
write_all() {
    qubesdb fw create "gateway=$GATEWAY" ${1+"ip=$1" "uplink=$2"}
    qubesdb fw connected "$ALICE" "$BOB"
    qubesdb fw mapped "$ALICE"
    qubesdb fw rules "$ALICE" 'action=accept'
}
detach_client() { xl network-detach "$1" 0 || fail "xl network-detach $1"; }
no_vif() { not vif_traces "$1"; }

# Ten clients run already when the firewall is started: each vif is attached the moment it is, and libxl gives it 10 s to answer.
second_firewall net
domu alice
domu bob
for number in 1 2 3 4 5 6 7 8 9; do
    tiny_client "tiny$number" "10.137.1.$number" vif=no
done
qube_domain vif=backend=net,ip=10.9.0.2,script=/bin/true
write_all 10.9.0.2 10.9.0.1
qubesdb fw write /vm-config/ravelin-log info
xl unpause fw || fail 'xl unpause fw'
begun=$(now)
pids=''
for number in 1 2 3 4 5 6 7 8 9; do
    # shellcheck disable=SC2046 # one argument per setting
    xl network-attach "tiny$number" $(client_vif "10.137.1.$number" | tr , ' ') &
    pids="$pids $!"
done
attach_client alice "$ALICE"
for pid in $pids; do
    wait "$pid" || fail 'xl network-attach: no answer within 10 s'
done
echo "ten vifs answered within $(($(now) - begun)) ms after the start"
for number in 1 2 3 4 5 6 7 8 9; do
    await 120 "tiny$number to be connected" vif_connected "$(id_of fw)" "tiny$number"
done
await 120 'the uplink to be connected' vif_connected "$(id_of net)" fw
in_client alice "ping -c 3 -w 30 $FAR"
for number in 1 2 3 4 5 6 7 8 9; do
    xl destroy "tiny$number" || fail "xl destroy tiny$number"
done

# Another netvm with other addresses: the vif goes, all keys are written again, a vif of the other one comes.
second_firewall net2 10.8.0.2 10.8.0.1 10.10.0.1
xl network-detach fw 0 || fail 'xl network-detach fw'
write_all 10.10.0.2 10.10.0.1
attach_net net2 10.10.0.2
in_client alice "ping -c 2 -w 30 $FAR"
xl destroy net || fail 'xl destroy net'

# The netvm is destroyed, and comes back with the same values: nothing is written.
xl destroy net2 || fail 'xl destroy net2'
await 120 'the uplink to be disconnected' console fw 'uplink: disconnected'
second_firewall net2 10.8.0.2 10.8.0.1 10.10.0.1
xl network-detach fw 0 || fail 'xl network-detach fw'
attach_net net2 10.10.0.2
in_client alice "ping -c 2 -w 30 $FAR"

# A client is moved here: its vif is connected before its rules exist. Moved away its rules stay, and hold no more when it is back with
# others.
qubesdb fw connected "$ALICE" "$BOB"
qubesdb fw mapped "$BOB"
attach_client bob "$BOB"
await 120 'the vif of bob to be connected' vif_connected "$(id_of fw)" bob
refuse 'no way out before the rules' in_client bob "ping -c 1 -w 3 $FAR"
rules "$BOB" 'action=accept'
in_client bob "ping -c 2 -w 20 $FAR"
detach_client bob
qubesdb fw connected "$ALICE"
in_client alice "ping -c 1 -w 20 $FAR"
qubesdb fw connected "$ALICE" "$BOB"
qubesdb fw mapped "$BOB"
attach_client bob "$BOB"
await 120 'the vif of bob to be connected' vif_connected "$(id_of fw)" bob
rules "$BOB" 'action=drop proto=icmp' 'action=accept'
refuse 'the new rules to hold' in_client bob "ping -c 1 -w 5 $FAR"
saw bob 'Packet filtered'
in_client bob "timeout 20 wget -q -O - http://$FAR/hello"
saw bob 'hello from the uplink'
detach_client bob

# The address of a disposable that is gone is the next one's: its rules are written before its vif is there.
rules "$DISPOSABLE" 'action=accept'
attach_client bob "$DISPOSABLE"
in_client bob "ping -c 2 -w 20 $FAR"
xl destroy bob || fail 'xl destroy bob'
await 20 'the vif of bob to be gone' no_vif bob
domu carol
rules "$DISPOSABLE" 'action=drop proto=icmp' 'action=accept'
attach_client carol "$DISPOSABLE"
refuse 'the rules of the first one to be gone' in_client carol "ping -c 1 -w 5 $FAR"
saw carol 'Packet filtered'
xl destroy carol || fail 'xl destroy carol'

# Its netvm is taken away: the vif goes, and the keys stay as they are. Then the daemon dies. It serves its clients, and obeys.
xl network-detach fw 0 || fail 'xl network-detach fw'
refuse 'no way out' in_client alice "ping -c 1 -w 3 $FAR"
in_client alice "ping -c 2 -w 20 $GATEWAY"
kill_qubesdb fw
refuse 'nothing to have offended the daemon' qubesdb_log fw 'FATAL|Traceback'
xl shutdown -w fw
await 10 'the domain to be gone' not xl domid fw
detach_client alice

# Started without a netvm: there is no /qubes-ip. Clients are served, and the way out comes with the netvm.
qube_domain vif=no
write_all
qubesdb fw write /vm-config/ravelin-log info
xl unpause fw || fail 'xl unpause fw'
attach_client alice "$ALICE"
await 120 'the vif of alice to be connected' vif_connected "$(id_of fw)" alice
in_client alice "ping -c 2 -w 20 $GATEWAY"
refuse 'no way out' in_client alice "ping -c 1 -w 3 $FAR"
write_all 10.10.0.2 10.10.0.1
attach_net net2 10.10.0.2
in_client alice "ping -c 2 -w 30 $FAR"
refuse 'nothing to have offended the daemon' qubesdb_log fw 'FATAL|Traceback'
xl shutdown -w fw
await 10 'the domain to be gone' not xl domid fw
