# A client opens as many flows as it can and reloads its driver, ten times, while another one opens 100 connections: each
# succeeds, and so do more. When both are gone nothing is held that was not held before.
# limit 900
firewall
balance fw before
client alice "$ALICE" tools=yes
client bob "$BOB"
in_client bob "
    (for n in \$(seq 100); do nc -z -w 30 $UPLINK 80 && echo opened; sleep 0.2; done >/tmp/opened 2>&1; touch /tmp/done) &"
# Nobody answers there: dom0 forwards nothing.
for round in 1 2 3 4 5 6 7 8 9 10; do
    in_client alice "/tools/mappings 192.0.2.1 4000"
    reload_driver alice "$ALICE" || fail "reload number $round"
done
in_client bob "
    until [ -e /tmp/done ]; do usleep 100000; done
    for n in \$(seq 20); do nc -z -w 30 $UPLINK 80 && echo opened; done >>/tmp/opened 2>&1
    sort /tmp/opened | uniq -c"
saw bob '^ *120 opened$'
xl destroy alice
xl destroy bob
settles fw before
