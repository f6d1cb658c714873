# The gateway's address moves to another Ethernet address, as between two routers with VRRP, and an ARP request for itself
# says so: traffic goes on at once, there and back again.

# since_announcement: how many milliseconds the first answered ping comes after the announcement; nothing until both were seen.
since_announcement() {
    awk -v from="$address" '
        $2 == from && / ARP/ && !announced { announced = $1 }
        $2 == from && /echo reply/ && announced { printf "%d\n", ($1 - announced) * 1000; exit }' "$WORK/moves.seen"
}
is_answered() { [ -n "$(since_announcement)" ]; }

shared_client alice
uplink=$(uplink_device)
was=$(cat "/sys/class/net/$uplink/address")
for address in 00:00:5e:00:01:01 "$was"; do
    in_client alice "ping -c 1 -w 20 $UPLINK"
    in_client alice "ping -i 0.2 $UPLINK >/tmp/ping 2>&1 &"
    ip link set "$uplink" down
    ip link set "$uplink" address "$address"
    ip link set "$uplink" up
    capture moves 'arp or icmp'
    # Unsolicited: a request whose sender and target are the same.
    busybox arping -U -c 1 -I "$uplink" -s "$UPLINK" "$UPLINK"
    await 20 'the announcement' grep -q "$address > ff:ff:ff:ff:ff:ff, .*ARP.* $UPLINK" "$WORK/moves.seen"
    # One before does not count: dom0 may have asked for the firewall's address earlier, which announces its own, too.
    await 90 'an answered ping' is_answered
    kill "$!"
    in_client alice 'kill -INT $(pidof ping)'
    took=$(since_announcement)
    echo "$took ms after the announcement"
    expect 'at most 2000 ms' [ "$took" -le 2000 ]
done
