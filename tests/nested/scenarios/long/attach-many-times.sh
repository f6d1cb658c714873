# 20 times detached and attached again while it runs: each detach succeeds before libxl gives up and takes the directory along, and
# in the end nothing is held that was not held before.
# limit 420
firewall
client alice "$ALICE"
balance fw before
round=0
while [ "$round" -lt 20 ]; do
    round=$((round + 1))
    backend=$(back_dir "$(id_of fw)" alice)
    begun=$(now)
    xl network-detach alice 0 || fail "detach number $round"
    took=$(($(now) - begun))
    echo "detach number $round took $took ms"
    # A backend that does not answer is given up after 10 s.
    expect 'at most 9000 ms' [ "$took" -le 9000 ]
    refuse 'no backend directory' xenstore-exists "$backend"
    refuse 'nothing of the vif in XenStore' vif_traces alice
    attach_client alice "$ALICE"
done
in_client alice "ping -c 2 -w 20 $UPLINK"
settles fw before
