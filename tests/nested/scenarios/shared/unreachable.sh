# An ICMP error from the uplink reaches the client whose flow it is about, and only that one: both clients talk from the
# same port to the same host.
shared_client alice
shared_client bob
# unreachable NAME: how many ICMP "destination unreachable" messages the client has got.
unreachable() {
    in_client "$1" "awk '
        /^Icmp:/ && !column { for (n = 1; n <= NF; n++) if (\$n == \"InDestUnreachs\") column = n; next }
        /^Icmp:/ { print \$column }' /proc/net/snmp"
}
alice_before=$(unreachable alice)
bob_before=$(unreachable bob)
in_client bob "echo hello | nc -u -p 4000 -W 1 -w 10 $UPLINK 7"
saw bob hello
# Nobody listens there. The first datagram causes the error; the second one's send reports it to nc.
in_client alice "(echo one; usleep 500000; echo two; usleep 500000; echo three) | nc -u -p 4000 -w 5 $UPLINK 5999" || :
alice_was_told() { [ "$(unreachable alice)" -gt "$alice_before" ]; }
await 10 'the ICMP error in alice' alice_was_told
expect 'no ICMP error in bob' [ "$(unreachable bob)" = "$bob_before" ]
