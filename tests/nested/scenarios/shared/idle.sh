# With nothing to do the firewall uses no processor time: at most 0.1 s more after 20 s, with a client connected.
# types pv pvh
shared_client alice
before=$(cpu_seconds fw)
# The measure itself: 20 s go by.
sleep 20
after=$(cpu_seconds fw)
echo "processor time: $before s, 20 s later $after s"
expect 'at most 0.1 s' awk "BEGIN { exit !($after - $before < 0.11) }"
