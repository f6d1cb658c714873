# Contents are the same whatever the ends leave to the device: every combination of checksums, scatter-gather and
# segmentation at the client, and none of them at the uplink.
# types pv pvh
# limit 420
firewall
client alice "$ALICE"
uplink=vif$(id_of fw).0
size=$((2 << 20))
head -c $size /srv/large >/srv/offloads
sum=$(sha256sum </srv/offloads)
in_client alice "wget -q -O /tmp/block http://$UPLINK/block"

# transfer FEATURES: up and down with these features (ethtool's words) at the client. One that the firewall does not offer
# stays off.
transfer() {
    in_client alice "
        ethtool -K eth0 $1 2>&1
        ethtool -k eth0 | grep -E '^(tx-checksumming|scatter-gather|tcp-segmentation|generic-segmentation|generic-receive)'
        {
            printf 'POST / HTTP/1.0\r\nContent-Length: $size\r\n\r\n'
            for number in 1 2; do
                printf %08d \$number
                cat /tmp/block
            done
        } | nc -w 100 $UPLINK 80 | tail -n 1 && echo
        timeout 60 wget -q -O - http://$UPLINK/offloads | sha256sum"
    expect "the same contents up and down with $1" [ "$(grep -c "^${sum%% *}" "$WORK/alice.answer")" = 2 ]
}

for tx in off on; do
    for sg in off on; do
        for tso in off on; do
            for gso in off on; do
                transfer "tx $tx sg $sg tso $tso gso $gso gro $gso"
            done
        done
    done
done
ethtool -K "$uplink" tx off sg off tso off gso off gro off
for all in off on; do
    transfer "tx $all sg $all tso $all gso $all gro $all"
done
