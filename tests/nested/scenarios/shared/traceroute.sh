# A packet whose time to live ends at the firewall is answered by the firewall, with ICMP 11/0.
shared_client alice
in_client alice "traceroute -n -q 1 -w 10 -m 3 $UPLINK"
saw alice "^ 1  $FIREWALL "
saw alice "^ 2  $UPLINK "
refuse 'no answer' in_client alice "ping -c 1 -w 5 -t 1 $UPLINK"
saw alice 'Time to live exceeded'
