# A vif with two addresses, ip='10.137.0.8 10.137.0.9', has the first; the console says that the second is not admitted,
# and it is not.
shared_client alice
domu dave "vif=['mac=00:16:3e:00:01:08,backend=fw,ip=10.137.0.8 10.137.0.9,script=/bin/true']"
says fw "vif$(id_of dave).0: .*10.137.0.9"
in_client dave "/plug 10.137.0.8 $GATEWAY && ip addr add 10.137.0.9/32 dev eth0"
refuse 'the second address not to be admitted' in_client dave "ping -c 1 -W 3 -I 10.137.0.9 $UPLINK"
in_client dave "ping -c 1 -w 20 -I 10.137.0.8 $UPLINK"
xl destroy dave
rm "$WORK/dave.id"
