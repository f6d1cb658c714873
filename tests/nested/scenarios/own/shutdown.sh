# `xl shutdown` is obeyed within 2 s.
firewall
begun=$(now)
xl shutdown -w fw
took=$(($(now) - begun))
echo "xl shutdown -w took $took ms"
refuse 'no domain fw' xl domid fw
says fw 'shutting down: PowerOff'
expect 'at most 2000 ms' [ "$took" -le 2000 ]
