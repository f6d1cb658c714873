# A ping of 8,000 bytes travels as six fragments each way.
# types pv pvh
shared_client alice
in_client alice "ping -c 3 -w 20 -s 8000 $UPLINK"
