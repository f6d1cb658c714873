# A client that breaks the rules of its rings (see tools/hostile) loses its connection or that packet, each time, and nothing
# else; another client is served on without losing a packet. With its usual driver it is served, too, and leaves nothing behind.
# types pv pvh
# limit 400
firewall
client alice "$ALICE"
balance fw before
start_ping alice
client carol "$CAROL" tools=yes
in_client carol 'echo vif-0 >/sys/bus/xen/drivers/vif/unbind'

cut_off='index-ahead index-behind beyond-page missing-slot slot-flood unknown-extra'
refused='reserved-gref no-gref short'
in_client carol "/tools/hostile $cut_off $refused sizes bad-buffer event-storm" || fail 'the program that attacks'
for attack in $cut_off; do saw carol "^$attack closed\$"; done
for attack in $refused; do saw carol "^$attack -1\$"; done
saw carol '^sizes -1 -1$'
# The packet is good, the buffer for its answer is not.
saw carol '^bad-buffer 0 -1$'
saw carol '^event-storm 0 [0-9]+$'
says fw "vif$(id_of carol).0: broke the protocol \(a ring index makes no sense\): connection ended"

in_client carol "echo vif-0 >/sys/bus/xen/drivers/vif/bind && /plug $CAROL $GATEWAY && ping -c 2 -w 20 $UPLINK"
stop_ping alice
expect 'every ping of alice to be answered' [ "$lost" = 0 ]
xl destroy carol
settles fw before
