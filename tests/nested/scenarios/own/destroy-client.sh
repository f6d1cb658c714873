# A client that is destroyed leaves nothing behind, and the other one is served on.
firewall
client alice "$ALICE"
client bob "$BOB"
backend=$(back_dir "$(id_of fw)" alice)
in_client alice "ping -c 1 -w 20 $UPLINK"
in_client bob "ping -i 0.2 $UPLINK >/tmp/ping 2>&1 &"
expect 'a backend directory' xenstore-exists "$backend"
begun=$(now)
xl destroy alice
took=$(($(now) - begun))
echo "xl destroy took $took ms"
await 10 'the backend directory to go' not xenstore-exists "$backend"
# libxl waits 10 s for a backend that does not follow.
expect 'the backend to follow at once' [ "$took" -le 8000 ]
# Answers go on, and none of them is missing. A request that is still on its way when ping is told to stop is not lost.
in_client bob '
    answers() { sed -n "s/.*icmp_seq=\([0-9]*\) .*/\1/p" /tmp/ping; }
    before=$(answers | wc -l)
    until [ "$(answers | wc -l)" -gt "$before" ]; do usleep 50000; done
    kill -INT "$(pidof ping)"
    answers | awk "\$1 != NR { print \"answer \" NR \" is missing\"; exit 1 }"' || fail 'bob was not served all the time'
in_client bob "timeout 20 wget -q -O - http://$UPLINK/hello"
saw bob 'hello from the uplink'
# A client of the same address can come again.
client carol "$ALICE"
in_client carol "ping -c 2 -w 20 $UPLINK"
