# 40 clients at once, tiny domains with a netfront of our own, and a Linux client that is served among them; all connect,
# all leave, and nothing stays.
# limit 1500
firewall
client alice "$ALICE"
balance fw before
xl info | grep free_memory
count=40
number=0
begun=$(now)
while [ "$number" -lt "$count" ]; do
    number=$((number + 1))
    tiny_client "tiny$number" "10.137.1.$number"
done
number=0
while [ "$number" -lt "$count" ]; do
    number=$((number + 1))
    await 60 "tiny$number to be connected" vif_connected "$(id_of fw)" "tiny$number"
done
echo "$count clients connected after $(($(now) - begun)) ms"
xl info | grep free_memory
xl list
balance fw full
in_client alice "ping -c 3 -w 20 $UPLINK"
begun=$(now)
while [ "$number" -gt 0 ]; do
    xl destroy "tiny$number" &
    [ $((number % 8)) -ne 1 ] || wait
    number=$((number - 1))
done
echo "$count clients gone after $(($(now) - begun)) ms"
number=0
while [ "$number" -lt "$count" ]; do
    number=$((number + 1))
    await 10 "the backend directory of tiny$number to go" not xenstore-exists "$(back_dir "$(id_of fw)" "tiny$number")"
done
in_client alice "ping -c 2 -w 20 $UPLINK"
settles fw before
