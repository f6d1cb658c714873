# 30,000 short connections, a hundred at a time, as a load generator's, of a client whose rate of new flows is far below
# that: none fails.
# limit 1200
firewall extra=client-new-flows=20
client alice "$ALICE" tools=yes
in_client alice "(/tools/connections $UPLINK 9 30000 100 >/tmp/connections 2>&1; touch /tmp/done) &"
await 1000 'the last connection' in_client alice 'for n in $(seq 100); do [ -e /tmp/done ] && exit; sleep 0.2; done; false'
in_client alice 'cat /tmp/connections'
saw alice '^30000 opened and closed$'
