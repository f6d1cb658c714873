# All memory that the domain was given is seen: 16 MB and 512 MB, and 16 MB where it may be given 64. The firewall of 512 MB
# serves a client, and so does the one that could be larger.
# types pv pvh
# limit 240
firewall
says fw '[^0-9]1[56] MiB of memory'
destroy_all
firewall memory=512
says fw '[^0-9]51[12] MiB of memory'
client alice "$ALICE"
in_client alice "ping -c 2 -w 20 $UPLINK"
destroy_all
firewall maxmem=64
says fw '[^0-9]1[56] MiB of memory'
[ "$TYPE" = pv ] || says fw 'the memory map has 64 MiB, of which 16 MiB are used'
client alice "$ALICE"
in_client alice "ping -c 2 -w 20 $UPLINK"
