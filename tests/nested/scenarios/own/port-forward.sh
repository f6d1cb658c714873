# A port on the uplink address leads to a client, and no other port does.
cat >"$WORK/rules" <<RULES
[default]
policy=accept
[forward]
proto=tcp dstports=8088-8088 to=$ALICE:8000
RULES
firewall "rules=$WORK/rules"
client alice "$ALICE"
in_client alice 'mkdir /tmp/www; echo hello from alice >/tmp/www/hello; httpd -p 8000 -h /tmp/www; httpd -p 8001 -h /tmp/www'
timeout 20 wget -q -O - "http://$FIREWALL:8088/hello" | grep -F 'hello from alice' || fail 'port 8088 leads nowhere'
refuse 'no other port to lead in' timeout 3 wget -q -O - "http://$FIREWALL:8001/hello"
refuse 'no other port to lead in' timeout 3 wget -q -O - "http://$FIREWALL:8000/hello"
