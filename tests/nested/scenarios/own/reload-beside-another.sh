# A client takes as many ports as it can and reloads its driver, ten times, while another one opens 100 connections: each
# succeeds. When both are gone nothing is held that was not held before.
# limit 300
firewall
balance fw before
client alice "$ALICE" tools=yes
client bob "$BOB"
in_client bob "
    (for n in \$(seq 100); do nc -z -w 20 $UPLINK 80 && echo opened; sleep 0.2; done >/tmp/opened 2>&1; touch /tmp/done) &"
for round in 1 2 3 4 5 6 7 8 9 10; do
    in_client alice "/tools/mappings 192.0.2.1 8000 | tail -n 1"
    reload_driver alice "$ALICE" || fail "reload number $round"
done
in_client bob "until [ -e /tmp/done ]; do usleep 100000; done; sort /tmp/opened | uniq -c"
saw bob '^ *100 opened$'
in_client bob "for n in \$(seq 20); do nc -z -w 20 $UPLINK 80 && echo opened; done"
expect 'twenty more' [ "$(grep -c opened "$WORK/bob.answer")" = 20 ]
xl destroy alice
xl destroy bob
settles fw before
