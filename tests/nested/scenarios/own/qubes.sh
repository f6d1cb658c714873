# A firewall qube obeys dom0: it takes all from QubesDB, says nothing to clients without rules, takes up a change at the trigger, cuts
# what is refused now and nothing else, blocks the one client whose rules are wrong, keeps its rules while the daemon is away, takes
# all of the next one at once, and shuts down as libxl of Qubes asks it to.
# types pv pvh
# limit 1800
passed() { grep -c "\.$1: UDP" "$WORK/flows.seen" || true; }
passed_more() { [ "$(passed "$1")" -ge "$2" ]; }
# mappings PORT: how many ports of the firewall's have been used towards that one.
mappings() { sed -n "s/.*: $FIREWALL\.\([0-9]*\) > .*\.$1: UDP.*/\1/p" "$WORK/flows.seen" | sort -u | wc -l; }
dumps() { grep -c ' dumped ' "$WORK/fw.qubesdb-log" || true; }
dumped_more() { [ "$(dumps)" -gt "$1" ]; }
# many_rules ADDRESS: gives this client 200 rules.
many_rules() {
    local address="$1" number=0
    set --
    while [ $((number += 1)) -lt 200 ]; do
        set -- "$@" "action=drop proto=tcp dst4=10.99.0.$number/32 dstports=81-81"
    done
    rules "$address" "$@" 'action=accept'
}
refused_8080() { ! in_client alice "nc -v -z -w 10 $UPLINK 8080"; }

firewall_qube qubesdb fw connected "$ALICE" "$BOB"
says fw "our address is $FIREWALL"
refuse 'nothing to be said of words for Linux' console fw 'plymouth|swiotlb|privcmd|nomodeset'
client alice "$ALICE"
client bob "$BOB"

# Connected, but without rules: silence, and nothing on the uplink. What comes after shows that it would have been seen.
capture pings icmp
refuse 'no way out before the rules' in_client alice "ping -c 2 -w 3 -s 100 $UPLINK"
refuse 'silence' grep -q -i -e filtered -e unreachable "$WORK/alice.answer"
rules "$ALICE" 'action=accept specialtarget=dns' - 'action=accept proto=udp dstports=7-7' 'action=accept'
in_client alice "ping -c 2 -w 20 -s 200 $UPLINK"
await 20 'the ping to be captured' grep -q 'echo reply.*length 208' "$WORK/pings.seen"
refuse 'no ping before the rules on the uplink' grep -F 'length 108' "$WORK/pings.seen"
# The resolvers are the same for clients and the firewall.
in_client alice 'nslookup -type=a uplink.test 10.139.1.1'
saw alice "^Address: $UPLINK$"

# A change: one of two flows is refused from now on, the other goes on as the flow that it was.
capture flows udp
in_client alice "for port in 7 9007; do
    (while :; do echo x; usleep 100000; done) 2>/dev/null | nc -u $UPLINK \$port >/tmp/\$port 2>/dev/null &
done"
await 120 'both flows' passed_more 7 5
await 120 'both flows' passed_more 9007 5
rules "$ALICE" 'action=accept specialtarget=dns' - 'action=drop proto=udp dstports=7-7' 'action=drop proto=tcp dstports=81-81' 'action=accept'
seen=$(passed 9007)
await 120 'the other flow to go on' passed_more 9007 $((seen + 20))
took=$(awk -v from="$triggered" '/\.7: UDP/ { last = $1 } END { printf "%d", (last - from) * 1000 }' "$WORK/flows.seen")
echo "the last packet of the refused flow passed $took ms after the trigger"
expect "at most $((1000 * PATIENCE)) ms" [ "$took" -le $((1000 * PATIENCE)) ]
expect 'the other flow to have kept its port' [ "$(mappings 9007)" = 1 ]
refuse 'port 81 to be refused' in_client alice "nc -v -z -w 20 $UPLINK 81"
saw alice 'No route to host'

# The same once more changes nothing, and is counted as every trigger is.
rules "$ALICE" 'action=accept specialtarget=dns' - 'action=drop proto=udp dstports=7-7' 'action=drop proto=tcp dstports=81-81' 'action=accept'
expect 'every trigger to be counted once' [ "$(handled "$ALICE")" = 3 ]

# A wrong rule blocks its client, is said with its key, and is counted.
rules "$BOB" 'action=accept'
in_client bob "ping -c 2 -w 20 $UPLINK"
rules "$BOB" 'action=accept proto=icmp' 'action=accept colour=red'
says fw "/qubes-firewall/$BOB/0001"
refuse 'bob to be blocked' in_client bob "ping -c 1 -w 3 $UPLINK"
in_client alice "ping -c 1 -w 20 $UPLINK"
rules "$BOB" 'action=accept'
in_client bob "ping -c 2 -w 20 $UPLINK"
expect 'blocking to be counted, too' [ "$(handled "$BOB")" = 3 ]

# While rules of one client are taken up nobody else loses a packet.
in_client alice "ping -i 0.02 $UPLINK >/tmp/ping 2>&1 &"
many_rules "$BOB"
many_rules "$BOB"
rules "$BOB" 'action=accept'
stop_ping alice
expect 'no packet to be lost' [ "$lost" = 0 ]

# The daemon dies: the rules stay. The next one has other rules and no more of bob's: both hold at once.
qubesdb fw list >"$WORK/keys"
kill_qubesdb fw
seen=$(passed 9007)
await 120 'the flow to go on without a daemon' passed_more 9007 $((seen + 20))
in_client bob "ping -c 2 -w 20 $UPLINK"
sed -i -e "/^\/qubes-firewall\/$BOB/d" -e 's/dstports=81-81/dstports=8080-8080/' "$WORK/keys"
before=$(dumps)
start_qubesdb fw "$WORK/keys"
await 120 'the firewall to ask for everything' dumped_more "$before"
await 120 'port 8080 to be refused' refused_8080
refuse 'bob to have no rules' in_client bob "ping -c 1 -w 3 $UPLINK"
in_client alice "nc -v -z -w 20 $UPLINK 81"
expect 'the flow to have kept its port' [ "$(mappings 9007)" = 1 ]
rules "$BOB" 'action=accept'
in_client bob "ping -c 2 -w 20 $UPLINK"

# libxl of Qubes looks for exactly this before it asks for the end.
xenstore-ls -f "/local/domain/$(id_of fw)/control" | grep -F -x "/local/domain/$(id_of fw)/control/feature-poweroff = \"1\"" ||
    fail 'no feature-poweroff that reads 1'
expect 'the daemon to have lived' qubesdb_lives fw
xl shutdown -w fw
await 10 'the domain to be gone' not xl domid fw
refuse 'nothing to have offended the daemon' qubesdb_log fw 'FATAL|Traceback'
