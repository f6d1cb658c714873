# The firewall answers whoever pings its uplink address from outside.
shared_client alice
ping -c 3 -w 20 "$FIREWALL"
