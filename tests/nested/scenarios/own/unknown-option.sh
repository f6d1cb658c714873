# An unknown word on the command line is reported with its column and ignored; the rest is in effect.
firewall extra=colour=blue
says fw 'command line, column 62: unknown option .*colour=blue'
client alice "$ALICE"
in_client alice "ping -c 2 -w 20 $UPLINK"
