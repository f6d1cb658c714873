# Runs the scenarios named in $RIG/scenarios.list, each with firewalls of that type and within so many seconds. They begin
# and end without any domain; only those under shared/ use the domains that the one before left, if it passed.
# shellcheck shell=dash
set +e
python3 $RIG/dom0/heartbeat.py >&3 &
last=
while read -r TYPE name limit; do
    export TYPE
    echo "begin $TYPE $name" >&3
    [ "$TYPE ${name%/*}" = "$last" ] || (destroy_all)
    last="$TYPE ${name%/*}"
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout -k 5 "$limit" sh -eu -c '
        . $RIG/dom0/lib.sh
        . "$RIG/scenarios/$1.sh"
        case $1 in shared/*) ;; *) destroy_all ;; esac
    ' scenario "$name" >"$WORK/log" 2>&1 </dev/null
    status=$?
    if [ $status = 0 ]; then
        echo "pass $TYPE $name" >&3
    else
        [ $status != 124 ] || echo 'FAILED: took too long' >>"$WORK/log"
        {
            cat "$WORK/log"
            evidence 2>&1
        } | sed 's/^/| /' >&3
        echo "fail $TYPE $name" >&3
        (destroy_all)
    fi
done <"$RIG/scenarios.list"
(destroy_all)
echo end >&3
