# A client gets its vif while it runs, also one that is older than the firewall; detached, its backend directory goes.
# types pv pvh
domu alice
firewall
attach_client alice "$ALICE"
in_client alice "ping -c 2 -w 20 $UPLINK"
backend=$(back_dir "$(id_of fw)" alice)
xl network-detach alice 0
refuse 'no backend directory' xenstore-exists "$backend"
# The same client comes back, at once.
attach_client alice "$ALICE"
in_client alice "ping -c 2 -w 20 $UPLINK"
