# All memory that the domain was given is seen: 16 MB and 512 MB. The firewall of 512 MB serves a client.
firewall
says fw '[^0-9]1[56] MiB of memory'
destroy_all
firewall memory=512
says fw '[^0-9]51[12] MiB of memory'
client alice "$ALICE"
in_client alice "ping -c 2 -w 20 $UPLINK"
