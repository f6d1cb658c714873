# `xl sysrq fw s` says on whole lines what passed, what became of flows, and why packets were dropped.
shared_client alice
# One that is dropped: its source is not the client's.
in_client alice "ip addr add 10.137.0.77/32 dev eth0; ping -c 1 -W 1 -I 10.137.0.77 $UPLINK; ip addr del 10.137.0.77/32 dev eth0"
in_client alice "ping -c 1 -w 20 $UPLINK"
xl sysrq fw s
count='[1-9][0-9]*'
for line in "packets: $count outward, $count inward, [0-9]+ between clients" \
    "flows: $count opened, [0-9]+ expired, [0-9]+ evicted, [0-9]+ revoked" \
    'errors and resets: [0-9]+ answered, [0-9]+ unanswered' \
    "dropped:.* $count spoofed.*"; do
    says fw "$line.?\$"
done
