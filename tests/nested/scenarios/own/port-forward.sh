# A port on the uplink address leads to a client, and no other port does.
# types pv pvh
cat >"$WORK/rules" <<RULES
[default]
policy=accept
[forward]
proto=tcp dstports=8088-8088 to=$ALICE:8000
RULES
firewall "rules=$WORK/rules"
client alice "$ALICE"
serve_hello alice
timeout 20 wget -q -O - "http://$FIREWALL:8088/hello" | grep -F 'hello from alice' || fail 'port 8088 leads nowhere'
refuse 'no other port to lead in' timeout 3 wget -q -O - "http://$FIREWALL:8001/hello"
refuse 'no other port to lead in' timeout 3 wget -q -O - "http://$FIREWALL:8000/hello"
