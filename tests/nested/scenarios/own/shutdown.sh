# `xl shutdown` is obeyed within 2 s (times $PATIENCE).
# types pv pvh
firewall
begun=$(now)
xl shutdown -w fw
took=$(($(now) - begun))
echo "xl shutdown -w took $took ms"
says fw 'shutting down: PowerOff'
expect "at most $((2000 * PATIENCE)) ms" [ "$took" -le $((2000 * PATIENCE)) ]
# xl removes the domain when it has seen the end.
await 10 'the domain to be gone' not xl domid fw
