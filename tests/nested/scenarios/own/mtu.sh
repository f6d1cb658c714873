# mtu= of a vif is obeyed on both sides, 1,400 at the client's and 1,300 at the uplink's: whoever sends more with DF is told
# how much fits, what may be cut is cut, and TCP goes through both ways.
firewall uplink=no
attach_uplink mtu=1300
client alice "$ALICE" vif=mtu=1400
refuse 'too big for the uplink' in_client alice "ping -M do -c 1 -W 20 -s 1472 $UPLINK"
saw alice 'mtu *= *1300'
in_client alice "ip route flush cache; ping -M dont -c 2 -w 20 -s 1472 $UPLINK"
in_client alice "wget -q -O /tmp/block http://$UPLINK/block && sha256sum </tmp/block"
saw alice "^$(sha256sum </srv/block | cut -d ' ' -f 1) "
ip route get "$FIREWALL" | tee "$WORK/route"
expect 'dom0 to be told what fits' grep -q 'mtu 1400' "$WORK/route"
ip route flush cache
in_client alice "ip route flush cache; {
    printf 'POST / HTTP/1.0\r\nContent-Length: $(stat -c %s /srv/block)\r\n\r\n'
    cat /tmp/block
} | nc -w 60 $UPLINK 80 | tail -n 1"
saw alice "^$(sha256sum </srv/block | cut -d ' ' -f 1)$"
# The client's kernel was told again: it does not even send what is too big.
refuse 'too big for the uplink' in_client alice "ping -M do -c 1 -W 20 -s 1472 $UPLINK"
saw alice 'message too long, mtu *[:=] *1300'
