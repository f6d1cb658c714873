# The firewall itself answers a ping to the address that it has as a hop.
shared_client alice
in_client alice "ping -c 3 -w 20 $FIREWALL"
