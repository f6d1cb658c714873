# A vif with rate=2Mb/s: 3 MiB up take the time that they must. The report says the limit.
firewall
client alice "$ALICE" vif=rate=2Mb/s
size=$((3 << 20))
in_client alice "head -c $size /dev/zero >/tmp/zeroes"
sum=$(head -c $size /dev/zero | sha256sum)
begun=$(now)
in_client alice "{ printf 'POST / HTTP/1.0\r\nContent-Length: $size\r\n\r\n'; cat /tmp/zeroes; } | nc -w 60 $UPLINK 80 | tail -n 1"
took=$(($(now) - begun))
saw alice "^${sum%% *}$"
echo "$size bytes took $took ms"
# At 250,000 bytes a second, and 12,500 at once.
expect 'at least 12500 ms' [ "$took" -ge 12500 ]
xl sysrq fw s
says fw 'sends at most 12500 bytes every 50000 us'
