# A mistake in the rules of one client blocks that client and is reported with line and column; others are served.
cat >"$WORK/rules" <<RULES
[default]
policy=accept

[client $BOB]
action=accept proto=tcp dstports=80-80
action=accept proto=tcp dstport=443
RULES
firewall "rules=$WORK/rules"
says fw 'rules:6:25: .*dstport'
client alice "$ALICE"
client bob "$BOB"
in_client alice "ping -c 2 -w 20 $UPLINK"
refuse 'bob to be blocked' in_client bob "ping -c 2 -w 3 $UPLINK"
refuse 'bob to be blocked' in_client bob "nc -z -w 3 $UPLINK 80"
