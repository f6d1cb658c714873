# Datagrams of every size reach the uplink and their echoes come back, contents unchanged.
# types pv pvh
shared_client alice
in_client alice "
    set -e
    for size in 1 2 3 17 100 511 512 1000 1471 1472; do
        head -c \$size /dev/urandom >/tmp/sent
        nc -u -W 1 -w 10 $UPLINK 7 </tmp/sent >/tmp/received
        cmp /tmp/sent /tmp/received
    done"
# Twenty in a row through one flow; the reply that ends it is the last one's echo.
in_client alice "for n in \$(seq 20); do echo datagram \$n; usleep 20000; done | nc -u -W 20 -w 10 $UPLINK 9007"
expect 'twenty echoes' [ "$(cat "$WORK/alice.answer")" = "$(for n in $(seq 20); do echo "datagram $n"; done)" ]
