# The demonstration: a firewall with rules, a Linux client behind it, and what the client may and may not do. Each step
# reports `result`, TITLE, ok or FAILED, and DETAIL, separated by tabs.
# shellcheck shell=dash disable=SC2317 # the steps are called by name

# step TITLE FUNCTION: shows what FUNCTION prints while it runs.
step() {
    local title="$1"
    shift
    say
    say "== $title"
    : >"$WORK/detail"
    {
        if ("$@"); then echo ok; else echo FAILED; fi >"$WORK/outcome"
    } 2>&1 | sed -u 's/^/say    /' >&3
    printf 'result\t%s\t%s\t%s\n' "$title" "$(cat "$WORK/outcome")" "$(cat "$WORK/detail")" >&3
}

# detail TEXT: what the summary says about this step.
detail() { echo "$*" >"$WORK/detail"; }

boot_firewall() {
    begun=$(now)
    echo '$ xl create fw.cfg'
    firewall "rules=$WORK/rules"
    sed 's/^/fw.cfg: /' "$WORK/fw.cfg"
    detail "$(xl list fw | awk 'END { print $3 }') MB; uplink connected $(($(now) - begun)) ms after xl create began"
}

boot_client() {
    client alice "$ALICE"
    in_client alice 'uname -sr; ip -4 -br addr show eth0; ip route' || fail 'no answer'
    detail "$ALICE, stock Debian kernel"
}

ping_uplink() {
    in_client alice "ping -c 3 -w 20 $UPLINK" || fail 'no answer'
    detail "$(grep -E -o '^[0-9]+ packets.*received' "$WORK/alice.answer")"
}

look_up() {
    in_client alice "nslookup -type=a uplink.test $UPLINK" || fail 'no answer'
    saw alice "^Address: $UPLINK$"
    detail "uplink.test is $UPLINK"
}

download() {
    in_client alice "wget -q -O - http://$UPLINK/peer" || fail 'no answer'
    echo "(that is the address which the server saw)"
    saw alice "^$FIREWALL$"
    begun=$(now)
    in_client alice "timeout 100 wget -q -O - http://$UPLINK/large | sha256sum" || fail 'the download failed'
    took=$(($(now) - begun))
    saw alice "^$(cat /srv/large.sha256) "
    detail "$(stat -c %s /srv/large) bytes in $((took / 1000)) s (emulated), SHA-256 as on the server"
}

refused_port() {
    begun=$(now)
    if in_client alice "nc -v -z -w 20 $UPLINK 81"; then fail 'port 81 is open'; fi
    took=$(($(now) - begun))
    saw alice 'No route to host'
    detail "TCP 81: refused with an ICMP error after $took ms"
}

detach() {
    backend=$(back_dir "$(id_of fw)" alice)
    xenstore-exists "$backend" || fail "there was no $backend"
    echo '$ xl network-detach alice 0'
    xl network-detach alice 0 || fail 'xl network-detach'
    if xenstore-exists "$backend"; then fail "$backend is still there"; fi
    detail "$backend is gone"
}

shut_down() {
    begun=$(now)
    echo '$ xl shutdown -w fw'
    xl shutdown -w fw || fail 'xl shutdown'
    detail "the firewall was down after $(($(now) - begun)) ms"
}

set +e
cp "$RIG/dom0/demo.rules" "$WORK/rules"
say 'the rules:'
sed 's/^/say    /' "$WORK/rules" >&3
tail -n +1 --follow=name --retry "$CONSOLES/guest-fw.log" 2>/dev/null | tr -d '\r' | sed -u 's/^/say fw| /' >&3 &

step 'The firewall boots' boot_firewall
step 'A Linux client behind it boots' boot_client
step 'The client pings the uplink' ping_uplink
step 'It resolves a name' look_up
step 'It downloads over HTTP through NAT' download
step 'A rule refuses it a port' refused_port
step 'It is detached' detach
step 'The firewall is shut down' shut_down
destroy_all
echo end >&3
