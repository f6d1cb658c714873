# Runs the scenarios named in $RIG/scenarios.list, each with a machine of its own: no domain survives it.
# shellcheck shell=sh
set +e
while read -r name; do
    echo "begin $name" >&3
    destroy_all
    timeout -k 5 "$(cat $RIG/limit)" sh -eu -c '. $RIG/dom0/lib.sh; . "$1"' scenario \
        "$RIG/scenarios/$name.sh" >"$WORK/log" 2>&1 </dev/null
    status=$?
    if [ $status = 0 ]; then
        echo "pass $name" >&3
    else
        [ $status != 124 ] || echo 'FAILED: took too long' >>"$WORK/log"
        {
            cat "$WORK/log"
            evidence 2>&1
        } | sed 's/^/| /' >&3
        echo "fail $name" >&3
    fi
done <$RIG/scenarios.list
destroy_all
echo end >&3
