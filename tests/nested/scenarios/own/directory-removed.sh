# The backend directory of a connected client is removed by hand: it does not come back, nothing is held on to, others
# are served, and the client can be attached again.
firewall
client bob "$BOB"
balance fw before
client alice "$ALICE"
backend=$(back_dir "$(id_of fw)" alice)
in_client alice "ping -c 1 -w 20 $UPLINK"
in_client alice "ping -i 0.05 $UPLINK >/dev/null 2>&1 &"
xenstore-rm "$backend"
says fw "vif$(id_of alice).0: gone"
settles fw before
in_client bob "ping -c 5 -i 0.2 -w 20 $UPLINK"
refuse 'the directory not to come back' xenstore-exists "$backend"
in_client alice 'kill $(pidof ping)'
xl network-detach alice 0 || fail 'xl network-detach'
refuse 'the directory not to come back' xenstore-exists "$backend"
attach_client alice "$ALICE"
in_client alice "ping -c 2 -w 20 $UPLINK"
