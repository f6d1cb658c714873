# A gateway that is silent when the firewall comes up, as behind a bridge port that does not forward yet, answers ARP after
# 8 s: 3 s later at the latest traffic goes.
# The gateway has an Ethernet address of its own, which nobody can guess, and hears ARP when the scenario says so.
cat >"$WORK/vif-silent" <<'SCRIPT'
#!/bin/sh
set -eu
if [ "$1" = online ]; then
    ip link set "$vif" address 02:00:00:00:00:01
    ip link set "$vif" arp off up
    ip addr replace 10.0.0.1/24 dev "$vif"
    xenstore-write "$XENBUS_PATH/hotplug-status" connected
fi
SCRIPT
chmod +x "$WORK/vif-silent"
firewall uplink=no
client alice "$ALICE"
xl network-attach fw mac=00:16:3e:00:00:01 "script=$WORK/vif-silent" || fail 'xl network-attach fw'
await 30 'the uplink to be connected' vif_connected 0 fw
capture silent 'arp or icmp'
start_ping alice
await 20 'a question for the gateway' grep -q "Request who-has $UPLINK " "$WORK/silent.seen"
# The silence itself.
sleep 8
refuse 'no answered ping yet' grep 'echo reply' "$WORK/silent.seen"
begun=$(now)
ip link set "$(uplink_device)" arp on
await 90 'an answered ping' grep -q 'echo reply' "$WORK/silent.seen"
took=$(($(now) - begun))
grep ARP "$WORK/silent.seen"
echo "$took ms after the gateway began to answer"
expect 'at most 3000 ms' [ "$took" -le 3000 ]
