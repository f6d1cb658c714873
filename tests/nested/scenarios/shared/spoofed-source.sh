# A client that sends from an address which is not its own reaches nobody.
shared_client alice
uplink=vif$(id_of fw).0
rm -f "$WORK/seen" "$WORK/tcpdump.log"
tcpdump -Z root -l -n -p -i "$uplink" icmp >"$WORK/seen" 2>"$WORK/tcpdump.log" &
await 20 'tcpdump to listen' grep -q 'listening on' "$WORK/tcpdump.log"
in_client alice '
    ip addr add 10.137.0.77/32 dev eth0
    ip addr add 10.0.0.77/32 dev eth0'
for source in 10.137.0.77 10.0.0.77; do
    refuse "no answer to $source" in_client alice "ping -c 2 -w 3 -p 5b -s 100 -I $source $UPLINK"
done
# What comes after shows that tcpdump would have seen it: the same pings, with the client's own address.
in_client alice "ip addr del 10.137.0.77/32 dev eth0; ip addr del 10.0.0.77/32 dev eth0; ping -c 2 -w 20 -s 200 $UPLINK"
await 20 'the honest pings to be captured' grep -q 'echo reply.*length 208' "$WORK/seen"
cat "$WORK/seen"
refuse 'no spoofed ping on the uplink' grep -F 'length 108' "$WORK/seen"
