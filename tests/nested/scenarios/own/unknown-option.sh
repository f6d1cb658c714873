# An unknown word on the command line is reported with its column and ignored; what stands around it is in effect.
firewall "extra=colour=blue client-gateway=$GATEWAY"
column=$(sed -n "s/^extra='//p" "$WORK/fw.cfg" | awk '{ print index($0, "colour") }')
says fw "command line, column $column: unknown option .*colour=blue"
client alice "$ALICE"
in_client alice "ping -c 2 -w 20 $UPLINK"
in_client alice "ping -c 2 -w 20 $GATEWAY"
