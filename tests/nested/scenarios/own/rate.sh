# A vif with rate=2Mb/s: 2 MiB up take the time that they must, and down it is not slowed. The status says the rate.
firewall
client alice "$ALICE" vif=rate=2Mb/s
size=$((2 << 20))
in_client alice "wget -q -O /tmp/block http://$UPLINK/block && head -c $size /dev/zero >/tmp/two"
sum=$(head -c $size /dev/zero | sha256sum)
begun=$(now)
in_client alice "{ printf 'POST / HTTP/1.0\r\nContent-Length: $size\r\n\r\n'; cat /tmp/two; } | nc -w 60 $UPLINK 80 | tail -n 1"
took=$(($(now) - begun))
saw alice "^${sum%% *}$"
echo "$size bytes took $took ms"
# 128 KiB may go at once; the rest at 250,000 bytes a second.
expect 'at least 7800 ms' [ "$took" -ge 7800 ]
