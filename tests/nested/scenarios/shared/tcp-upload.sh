# 50 MB arrive as they were sent. The client has no room for them: it sends a block again and again, numbered, which
# makes the content of the file that tcp-download gets.
# types pv pvh
# limit 400
shared_client alice
in_client alice "wget -q -O /tmp/block http://$UPLINK/block"
size=$(stat -c %s /srv/large)
in_client alice "{
    printf 'POST / HTTP/1.0\r\nContent-Length: $size\r\n\r\n'
    for number in \$(seq 50); do
        printf %08d \$number
        cat /tmp/block
    done
} | nc -w 100 $UPLINK 80"
saw alice "^$(cat /srv/large.sha256)$"
