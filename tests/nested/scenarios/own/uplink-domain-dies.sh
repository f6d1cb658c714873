# The uplink's backend is another domain (a second firewall), which is destroyed and made anew: clients keep their vifs,
# and are served again as soon as the uplink is attached to the new one.
# limit 420
second_firewall net
firewall uplink=no address=10.9.0.2 gateway=10.9.0.1
attach_to_net() {
    xl network-attach fw mac=00:16:3e:00:00:04 backend=net ip=10.9.0.2 script=/bin/true || fail 'xl network-attach fw'
    await 30 'the uplink to be connected' vif_connected "$(id_of net)" fw
}
attach_to_net
client alice "$ALICE"
in_client alice "ping -c 2 -w 20 $UPLINK"
balance fw before
for round in 1 2 3; do
    in_client alice "ping -i 0.05 $UPLINK >/dev/null 2>&1 &"
    xl destroy net || fail 'xl destroy net'
    await 20 'the uplink to be disconnected' disconnected_times fw "$round"
    in_client alice 'kill $(pidof ping)'
    expect 'the client to keep its vif' vif_connected "$(id_of fw)" alice
    second_firewall net
    xl network-detach fw 0 || fail 'xl network-detach fw'
    attach_to_net
    in_client alice "ping -c 2 -w 20 $UPLINK"
done
settles fw before
