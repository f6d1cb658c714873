# The benchmark: what $RIG/measure does, reported as it goes.
# shellcheck shell=dash
set +e
export RIG WORK CONSOLES
for switch in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >"$switch"; done
# shellcheck disable=SC2046 # one argument per word
(cd "$RIG" && exec python3 -m measure $(cat "$RIG/bench")) >&3 2>"$WORK/log" || {
    {
        cat "$WORK/log"
        evidence 2>&1
    } | sed 's/^/| /' >&3
}
