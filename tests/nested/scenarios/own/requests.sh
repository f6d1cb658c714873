# The toolstack's other requests: a reboot is obeyed, suspend is refused and changes nothing, and after a pause all goes on.
acknowledged() { [ -z "$(xenstore-read "$control/shutdown")" ]; }
firewall
client alice "$ALICE"
control=/local/domain/$(id_of fw)/control
expect 'poweroff to be announced' [ "$(xenstore-read "$control/feature-poweroff")" = 1 ]
expect 'reboot to be announced' [ "$(xenstore-read "$control/feature-reboot")" = 1 ]
expect 'suspend to be refused in advance' [ "$(xenstore-read "$control/feature-suspend")" = 0 ]
xenstore-write "$control/shutdown" suspend
await 10 'the request to be acknowledged' acknowledged
says fw 'request "suspend" is not supported'
in_client alice "ping -c 2 -w 20 $UPLINK"
in_client alice "ping -i 0.5 $UPLINK >/tmp/ping 2>&1 &"
xl pause fw
# The pause itself.
sleep 15
xl unpause fw
in_client alice "ping -c 2 -w 20 $UPLINK"
before=$(id_of fw)
xl reboot fw || fail 'xl reboot'
await 30 'a domain of that name with another number' rebooted fw "$before"
await 30 'that number' number_of fw
await 30 'its uplink to be connected' vif_connected 0 fw
