# A client pings the router on the uplink side.
# types pv pvh
shared_client alice
in_client alice "ping -c 3 -w 20 $UPLINK"
