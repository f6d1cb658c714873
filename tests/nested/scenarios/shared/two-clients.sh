# Two clients are served at once and cannot reach each other.
shared_client alice
shared_client bob
in_client alice 'nc -l -k -p 7000 >/dev/null 2>&1 &'
in_client bob "ping -c 2 -w 20 $UPLINK"
in_client alice "ping -c 2 -w 20 $UPLINK"
refuse 'no way from bob to alice by ICMP' in_client bob "ping -c 2 -w 3 $ALICE"
refuse 'no way from alice to bob by ICMP' in_client alice "ping -c 2 -w 3 $BOB"
refuse 'no way from bob to alice by TCP' in_client bob "nc -z -w 3 $ALICE 7000"
in_client alice "nc -z -w 3 127.0.0.1 7000"
in_client alice 'kill $(pidof nc)'
# Both at the same time, each with its own answers.
for name in alice bob; do
    in_client $name "for n in 1 2 3; do timeout 120 wget -q -O - http://$UPLINK/block | sha256sum; done" &
done
wait
sum=$(sha256sum </srv/block)
for name in alice bob; do
    expect "three times the block in $name" [ "$(grep -c "^${sum%% *} " "$WORK/$name.answer")" = 3 ]
done
