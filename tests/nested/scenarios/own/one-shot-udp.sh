# 1,500 exchanges of one datagram and its answer, as a resolver's, in a firewall that lets its client have 1,000 flows: each
# is answered, and so is what comes then.
firewall extra=client-flows=1000
client alice "$ALICE" tools=yes
in_client alice "/tools/exchanges $UPLINK 7 1500"
in_client alice "timeout 20 wget -q -O - http://$UPLINK/hello"
saw alice 'hello from the uplink'
