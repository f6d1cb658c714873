# Half an hour of everything that comes and goes, in random order, while clients download and ping: in the end the
# firewall holds what it held in the beginning, and serves everybody.
# limit 2700
seconds=$(cat "$RIG/soak-seconds")
random=$(cat "$RIG/soak-seed")
echo "soak: $seconds s, seed $random"

# below LIMIT: sets `drawn` to a random number below LIMIT.
below() {
    random=$(((random * 1103515245 + 12345) % 2147483648))
    drawn=$((random / 65536 % $1))
}

# traffic NAME: keeps a client busy, but leaves the emulated processors time for everything else.
traffic() {
    in_client "$1" "ping -i 0.1 $UPLINK >/dev/null 2>&1 &
        (while :; do wget -q -T 20 -O /dev/null http://$UPLINK/block; sleep 0.5; done) >/dev/null 2>&1 &
        echo \$! >/tmp/downloads"
}

quiet() { in_client "$1" 'kill $(cat /tmp/downloads); kill $(pidof wget) $(pidof ping); true'; }

# times_gone VIF: how often the firewall has said that this vif is gone.
times_gone() { console fw | awk -v line="$1: gone" 'index($0, line) { n++ } END { print n + 0 }'; }
gone_again() { [ "$(times_gone "$1")" -gt "$2" ]; }

start() {
    client "$1" "$2"
    traffic "$1"
}

firewall
client alice "$ALICE"
client bob "$BOB"
client carol 10.137.0.7
balance fw before
for name in alice bob carol; do traffic $name; done

say "soak: $seconds s with seed $random"
deeds=0
begun=$(now)
until [ $(($(now) - begun)) -ge $((seconds * 1000)) ]; do
    below 3
    case $drawn in
    0) name=alice address=$ALICE ;;
    1) name=bob address=$BOB ;;
    *) name=carol address=10.137.0.7 ;;
    esac
    backend=$(back_dir "$(id_of fw)" $name)
    below 12
    deed=$drawn
    echo "deed $deeds at $(($(now) - begun)) ms: $deed on $name"
    case $deed in
    0 | 1 | 2 | 3)
        xl network-detach $name 0 || fail "xl network-detach $name"
        refuse 'no backend directory' xenstore-exists "$backend"
        below 2
        sleep $drawn
        attach_client $name $address
        ;;
    4 | 5 | 6)
        xl destroy $name || fail "xl destroy $name"
        await 10 'the backend directory to go' not xenstore-exists "$backend"
        rm "$WORK/$name.id"
        start $name $address
        ;;
    7 | 8)
        reload_driver $name "$address" || fail reload
        ;;
    9)
        vif=vif$(id_of $name).0
        before=$(times_gone "$vif")
        xenstore-rm "$backend"
        await 10 "$vif to be gone" gone_again "$vif" "$before"
        xl network-detach $name 0 || fail "xl network-detach $name"
        refuse 'the directory not to come back' xenstore-exists "$backend"
        attach_client $name $address
        ;;
    10)
        xl network-detach fw 0 || fail 'xl network-detach fw'
        attach_uplink
        ;;
    11)
        xl pause fw
        below 4
        sleep $drawn
        xl unpause fw
        ;;
    esac
    deeds=$((deeds + 1))
    [ $((deeds % 20)) != 0 ] || say "soak: $deeds deeds in $((($(now) - begun) / 1000)) s"
done
for name in alice bob carol; do quiet $name; done
for name in alice bob carol; do in_client $name "ping -c 3 -w 20 $UPLINK"; done
settles fw before
refuse 'no error on the console' console fw 'ERROR|CRASH|panicked'
say "soak: $deeds deeds; before and after: $(cat "$WORK/fw.balance-before")"
