# A firewall and a client, and a shell for a person.
# shellcheck shell=dash
set +e
cp "$RIG/dom0/demo.rules" "$WORK/rules"
(firewall "rules=$WORK/rules" && client alice "$ALICE") >"$WORK/log" 2>&1 || cat "$WORK/log"
cat <<TEXT

This is dom0, the uplink of the firewall: $UPLINK; the firewall is $FIREWALL, the client alice $ALICE.

    xl list                      the domains
    xl console fw                the firewall's console (Ctrl-] leaves it); xl console alice: a shell in the client
    . \$RIG/dom0/lib.sh           then: in_client alice 'ping -c 3 $UPLINK', client bob $BOB, …
    tcpdump -Z root -n -i any    what passes
    exit                         powers off

TEXT
setsid --ctty --wait bash -l </dev/hvc0 >/dev/hvc0 2>&1
