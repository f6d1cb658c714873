# The uplink is detached and attached while it is in use: a download goes on, with the same address. With another address
# it is used from then on, and what went on before ends. Of two uplinks the first is used and the other one takes over.
# types pv pvh
# limit 300
firewall
client alice "$ALICE"
balance fw before
in_client alice "(wget -q -O - http://$UPLINK/large | sha256sum >/tmp/sum) >/dev/null 2>&1 &"
in_client alice "until [ \$(cat /sys/class/net/eth0/statistics/rx_packets) -gt 1000 ]; do usleep 20000; done"
xl network-detach fw 0 || fail 'xl network-detach fw'
says fw 'uplink: the device was removed'
refuse 'no way out now' in_client alice "ping -c 1 -w 2 $UPLINK"
attach_uplink
in_client alice "ping -c 1 -w 20 $UPLINK"
in_client alice 'until [ -s /tmp/sum ]; do usleep 100000; done; cat /tmp/sum'
saw alice "^$(cat /srv/large.sha256) "
settles fw before

# Another address: dom0 finds it by the announcement that comes with it, and the server sees it.
in_client alice "nc $UPLINK 80 </dev/zero >/dev/null 2>&1 & echo \$! >/tmp/nc"
xl network-detach fw 0 || fail 'xl network-detach fw'
xl network-attach fw mac=00:16:3e:00:00:02 ip=10.0.0.7 "script=$RIG/dom0/vif-uplink" || fail 'xl network-attach fw'
await 30 'the uplink to be connected' vif_connected 0 fw
says fw 'uplink: our address is 10.0.0.7/24 from now on'
in_client alice "timeout 20 wget -q -O - http://$UPLINK/peer"
saw alice '^10.0.0.7$'

# A second uplink is reported, and used when the first one goes.
xl network-attach fw mac=00:16:3e:00:00:03 "script=$RIG/dom0/vif-uplink" || fail 'xl network-attach fw'
says fw 'uplink: device 1 is not used'
xl network-detach fw 0 || fail 'xl network-detach fw'
says fw 'uplink: device 1, our address there is 00:16:3e:00:00:03'
says fw "uplink: our address is $FIREWALL/24 from now on"
in_client alice "timeout 20 wget -q -O - http://$UPLINK/peer"
saw alice "^$FIREWALL$"
