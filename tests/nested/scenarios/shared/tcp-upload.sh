# 50 MB arrive as they were sent: fifty times the same random megabyte, each with its number in front.
shared_client alice
in_client alice "head -c 1048568 /dev/urandom >/tmp/block"
content='for n in $(seq 50); do printf %08d $n; cat /tmp/block; done'
answer=$(in_client alice "{ printf 'POST / HTTP/1.0\r\nContent-Length: 52428800\r\n\r\n'; $content; } | nc -w 20 $UPLINK 80")
sum=$(in_client alice "{ $content; } | sha256sum")
expect 'the SHA-256 of what was sent' [ "$(echo "$answer" | tail -n 1)" = "${sum%% *}" ]
