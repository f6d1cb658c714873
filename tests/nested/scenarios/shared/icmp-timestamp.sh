# A client asks a host on the uplink side for its time by ICMP, and is answered.
shared_client carol
in_client carol "/tools/timestamp $UPLINK"
