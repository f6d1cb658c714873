# A client that is destroyed leaves nothing behind, and the other one is served on.
# types pv pvh
firewall
client alice "$ALICE"
client bob "$BOB"
backend=$(back_dir "$(id_of fw)" alice)
in_client alice "ping -c 1 -w 20 $UPLINK"
start_ping bob
expect 'a backend directory' xenstore-exists "$backend"
begun=$(now)
xl destroy alice
took=$(($(now) - begun))
echo "xl destroy took $took ms"
await 10 'the backend directory to go' not xenstore-exists "$backend"
# libxl waits 10 s for a backend that does not follow.
expect 'the backend to follow at once' [ "$took" -le 8000 ]
stop_ping bob
expect 'every ping of bob to be answered' [ "$lost" = 0 ]
in_client bob "timeout 20 wget -q -O - http://$UPLINK/hello"
saw bob 'hello from the uplink'
# A client of the same address can come again.
client carol "$ALICE"
in_client carol "ping -c 2 -w 20 $UPLINK"
