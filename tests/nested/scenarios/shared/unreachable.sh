# An ICMP error from the uplink reaches the client whose flow it is about, and only that one.
shared_client alice
shared_client bob
unreachable() { in_client "$1" "awk '/^Icmp:/ { n = \$9 } END { print n }' /proc/net/snmp"; }
bob_before=$(unreachable bob)
# Both have a flow to the same closed port; bob's is over when alice's begins.
in_client bob "echo hello | nc -u -W 1 -w 5 $UPLINK 7"
# A UDP port where nobody listens: the router answers 3/3, the client's socket reports it.
in_client alice "(echo one; usleep 500000; echo two) | nc -v -u -w 5 -W 1 $UPLINK 5999" || :
alice_sees() { [ "$(unreachable alice)" -gt 0 ]; }
await 10 'the ICMP error in alice' alice_sees
expect 'no ICMP error in bob' [ "$(unreachable bob)" = "$bob_before" ]
