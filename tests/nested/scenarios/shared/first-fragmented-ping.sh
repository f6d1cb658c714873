# The first packet to an address that the firewall has not talked to yet waits for ARP with all its fragments: one ping of
# 8,000 bytes to each of three fresh addresses is answered.
shared_client alice
for address in 10.0.0.31 10.0.0.32 10.0.0.33; do
    ip addr add "$address/32" dev "$(uplink_device)"
    in_client alice "ping -c 1 -W 20 -s 8000 $address"
    ip addr del "$address/32" dev "$(uplink_device)"
done
