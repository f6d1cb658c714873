# A rule file that cannot be read at all blocks everybody, and the console says why.
printf '\377\376\000 no text' >"$WORK/rules"
firewall "rules=$WORK/rules"
says fw 'rules:.*UTF-8.*everything is blocked'
client alice "$ALICE"
refuse 'alice to be blocked' in_client alice "ping -c 2 -w 3 $UPLINK"
refuse 'alice to be blocked' in_client alice "nc -z -w 3 $UPLINK 80"
