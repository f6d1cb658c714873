# The first rule that matches decides: one port is refused at once, with ICMP, and others pass.
# types pv pvh
cat >"$WORK/rules" <<'RULES'
[default]
policy=drop
action=drop proto=tcp dstports=81-81
action=accept proto=tcp dstports=80-90
action=accept specialtarget=dns
action=drop proto=icmp icmptype=8
RULES
firewall "rules=$WORK/rules"
client alice "$ALICE"
in_client alice "timeout 20 wget -q -O - http://$UPLINK/hello"
saw alice 'hello from the uplink'
begun=$(now)
refuse 'port 81 to be refused' in_client alice "nc -v -z -w 20 $UPLINK 81"
took=$(($(now) - begun))
# EHOSTUNREACH is what Linux makes of ICMP 3/13.
saw alice 'No route to host'
expect 'at most 5000 ms' [ "$took" -le 5000 ]
refuse 'port 8080 to be refused by the policy' in_client alice "nc -v -z -w 20 $UPLINK 8080"
saw alice 'No route to host'
refuse 'ping to be refused' in_client alice "ping -c 1 -w 5 $UPLINK"
saw alice 'Packet filtered'
in_client alice "nslookup -type=a uplink.test $UPLINK"
saw alice "^Address: $UPLINK$"
refuse 'port 7 of UDP to be refused' in_client alice "echo hello | nc -u -W 1 -w 3 $UPLINK 7 | grep hello"
