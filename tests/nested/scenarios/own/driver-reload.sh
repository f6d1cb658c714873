# The client unloads netfront and loads it again 20 times (5 times of a PVH firewall); its device stays and serves it each
# time.
# types pv pvh
# limit 420
firewall
client alice "$ALICE"
backend=$(back_dir "$(id_of fw)" alice)
balance fw before
rounds=20
[ "$TYPE" = pv ] || rounds=5
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    reload_driver alice "$ALICE" && in_client alice "ping -c 1 -w 20 $UPLINK" || fail "reload number $round"
    expect 'the device to stay' [ "$(xenstore-read "$backend/online")" = 1 ]
    expect 'it to be connected' vif_connected "$(id_of fw)" alice
done
settles fw before
