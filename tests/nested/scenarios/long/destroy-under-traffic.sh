# 20 clients are destroyed in the midst of a download; each leaves nothing behind, and another client is served on.
# limit 900
firewall
client bob "$BOB"
start_ping bob
balance fw before
round=0
while [ "$round" -lt 20 ]; do
    round=$((round + 1))
    client alice "$ALICE"
    in_client alice "wget -q -O /dev/null http://$UPLINK/large >/dev/null 2>&1 &"
    in_client alice "until [ \$(cat /sys/class/net/eth0/statistics/rx_packets) -gt 100 ]; do usleep 20000; done"
    backend=$(back_dir "$(id_of fw)" alice)
    begun=$(now)
    xl destroy alice
    took=$(($(now) - begun))
    echo "xl destroy number $round took $took ms"
    # A backend that does not answer is given up after 10 s.
    expect 'at most 9000 ms' [ "$took" -le 9000 ]
    await 5 'the backend directory to go' not xenstore-exists "$backend"
    rm "$WORK/alice.id"
done
stop_ping bob
# What dom0's own queue drops never comes to the firewall.
dropped=$(cat "/sys/class/net/vif$(id_of fw).0/statistics/tx_dropped")
expect "at most $dropped pings of bob to be lost, not $lost" [ "$lost" -le "$dropped" ]
settles fw before
