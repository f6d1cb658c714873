# The uplink appears after the firewall has booted, and with a client waiting for it.
firewall uplink=no
client alice "$ALICE"
refuse 'no way out yet' in_client alice "ping -c 1 -w 2 $UPLINK"
attach_uplink
in_client alice "ping -c 3 -w 20 $UPLINK"
