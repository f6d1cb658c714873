# A client resolves a name with the server on the uplink side; a name that does not exist is answered too.
# types pv pvh
shared_client alice
in_client alice "nslookup -type=a uplink.test $UPLINK"
saw alice '^Name:.uplink\.test$'
saw alice "^Address: $UPLINK$"
refuse 'no address' in_client alice "nslookup -type=a missing.test $UPLINK"
saw alice NXDOMAIN
