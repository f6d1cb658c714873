# A client pings the router on the uplink side. The firewall says which image it is.
# types pv pvh
shared_client alice
says fw "ravelin .* \(commit .+, build id $(cat "$RIG/build-id")\) on Xen"
in_client alice "ping -c 3 -w 20 $UPLINK"
