# The uplink sees the firewall's address, never the client's.
shared_client alice
peer=$(in_client alice "timeout 20 wget -q -O - http://$UPLINK/peer")
expect "the firewall's address" [ "$peer" = "$FIREWALL" ]
