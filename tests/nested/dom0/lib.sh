# What a scenario can say. Sourced by dom0's scripts; every wait has a limit and says what it waited for.
# shellcheck shell=dash

WORK=/run/rig-work
CONSOLES=/var/log/xen/console
UPLINK=10.0.0.1
FIREWALL=10.0.0.2
GATEWAY=10.137.0.1
ALICE=10.137.0.5
BOB=10.137.0.6
CAROL=10.137.0.7
# What firewalls are, and how many times longer everything may take with such ones.
TYPE=${TYPE-$(cat $RIG/type)}
PATIENCE=$(sed -n "s/^$TYPE //p" $RIG/patience)

# say TEXT: a line of progress for whoever watches the runner.
say() { echo "say $*" >&3; }

# fail TEXT: ends the scenario.
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# await SECONDS WHAT COMMAND…: runs COMMAND until it succeeds; fails after SECONDS (times $PATIENCE), naming WHAT. They are
# counted in tries, ten to a second, and not by the clock, which goes on while the machine or dom0 stands still.
await() {
    local tries what
    tries=$(($1 * 10 * PATIENCE))
    what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$tries" -gt 0 ] || fail "waited in vain for $what"
        tries=$((tries - 1))
        sleep 0.1
    done
}

# now: milliseconds since dom0 started.
now() {
    local uptime
    read -r uptime _ </proc/uptime
    # Two digits follow the point; a leading 1 keeps the shell from reading 08 as octal.
    echo $((${uptime%.*} * 1000 + (1${uptime#*.} - 100) * 10))
}

# expect WHAT COMMAND…: COMMAND must succeed.
expect() {
    local what="$1"
    shift
    "$@" || fail "expected $what: $*"
}

# refuse WHAT COMMAND…: COMMAND must fail.
refuse() {
    local what="$1"
    shift
    if "$@"; then fail "expected $what: $*"; fi
}

# not COMMAND…: succeeds if COMMAND fails; for `await`, where `refuse` would end the scenario.
not() { ! "$@"; }

# firewall [memory=MB] [maxmem=MB] [address=ADDRESS gateway=ADDRESS] [extra=WORDS] [rules=FILE] [uplink=no]: creates the firewall domain `fw` and waits until its
# uplink is connected.
firewall() {
    local argument memory=16 maxmem='' address=$FIREWALL gateway=$UPLINK extra='' rules='' uplink=yes
    for argument; do
        case $argument in
        memory=*) memory=${argument#*=} ;;
        maxmem=*) maxmem=${argument#*=} ;;
        address=*) address=${argument#*=} ;;
        gateway=*) gateway=${argument#*=} ;;
        extra=*) extra=${argument#*=} ;;
        rules=*) rules=${argument#*=} ;;
        uplink=*) uplink=${argument#*=} ;;
        *) fail "firewall: unknown argument $argument" ;;
        esac
    done
    {
        ravelin fw "$memory"
        echo "extra='ipv4=$address/24 gateway=$gateway dns=$UPLINK log=info $extra'"
        [ -z "$maxmem" ] || echo "maxmem=$maxmem"
        [ -z "$rules" ] || echo "ramdisk='$rules'"
        [ "$uplink" = no ] || echo "vif=['mac=00:16:3e:00:00:01,script=$RIG/dom0/vif-uplink']"
    } >"$WORK/fw.cfg"
    create fw
    [ "$uplink" = no ] || await 30 'the uplink to be connected' vif_connected 0 fw
}

# ravelin NAME MB: the configuration of a domain with the kernel under test, up to what is special about it.
ravelin() {
    printf '%s\n' "name='$1'" "kernel='$RIG/vmlinuz'" "memory=$2" "type='$TYPE'"
    # Else each look at the clock would be emulated, as the processor of the machine does not promise that it is steady. And
    # for a domain of 16 MB xl reckons with less memory for its page tables than Xen needs.
    [ "$TYPE" = pv ] || printf '%s\n' "tsc_mode='native'" 'shadow_memory=2'
    # A domain that crashed stays to be looked at.
    echo "on_crash='preserve'"
}

# attach_uplink [SETTING…]: gives a running firewall its uplink; SETTINGS (`mtu=1300`) are added to those of its vif.
attach_uplink() {
    xl network-attach fw mac=00:16:3e:00:00:01 "script=$RIG/dom0/vif-uplink" "$@" || fail 'xl network-attach fw'
    await 30 'the uplink to be connected' vif_connected 0 fw
}

# client NAME ADDRESS [tools=yes] [vif=SETTINGS]: creates a Linux domU whose network is the firewall's, and waits until it
# can send. With tools it has curl, Python and /tools; SETTINGS (`rate=2Mb/s`) are added to those of its vif.
client() {
    local name="$1" address="$2" argument tools=no vif
    vif=$(client_vif "$address")
    shift 2
    for argument; do
        case $argument in
        tools=*) tools=${argument#*=} ;;
        vif=*) vif=$vif,${argument#*=} ;;
        *) fail "client: unknown argument $argument" ;;
        esac
    done
    domu "$name" "vif=['$vif']" "tools=$tools"
    in_client "$name" "/plug $address $GATEWAY" || fail "no network in $name"
    await 30 "the vif of $name to be connected" vif_connected "$(id_of fw)" "$name"
}

# domu NAME [CONFIGURATION-LINE [tools=yes]]: creates a Linux domU and waits until it takes commands.
domu() {
    local initrd=initrd memory=128
    # The initrd is in memory twice while it is unpacked.
    [ "${3-}" != tools=yes ] || initrd=initrd-tools memory=256
    {
        printf '%s\n' "name='$1'" "kernel='$RIG/client/vmlinuz'" "ramdisk='$RIG/client/$initrd'"
        printf '%s\n' "memory=$memory" "extra='console=hvc0 loglevel=4 cryptomgr.notests'"
        [ -z "${2-}" ] || echo "$2"
    } >"$WORK/$1.cfg"
    create "$1"
    in_client "$1" true || fail "$1 takes no commands"
}

# shared_client alice|bob|carol: the firewall without rules and this client of it, which scenarios under shared/ leave
# running for the next. carol has tools.
shared_client() {
    running fw || firewall
    running "$1" || case $1 in
    alice) client alice $ALICE ;;
    bob) client bob $BOB ;;
    carol) client carol $CAROL tools=yes ;;
    esac
}

# attach_client NAME ADDRESS: gives a running domU a vif of the firewall.
attach_client() {
    # shellcheck disable=SC2046 # one argument per setting
    xl network-attach "$1" $(client_vif "$2" | tr , ' ') || fail "xl network-attach $1"
    in_client "$1" "/plug $2 $GATEWAY" || fail "no network in $1"
}

# reload_driver NAME ADDRESS: the client unloads netfront and loads it again. Linux lets a driver go only when it has no
# device left.
reload_driver() {
    in_client "$1" "echo vif-0 >/sys/bus/xen/drivers/vif/unbind && rmmod xen-netfront && insmod /modules/*xen-netfront.ko &&
        /plug $2 $GATEWAY"
}

# client_vif ADDRESS: the vif of a client in the words of xl. The MAC address follows from the last byte.
client_vif() { printf 'mac=00:16:3e:00:01:%02x,backend=fw,ip=%s,script=/bin/true' "${1##*.}" "$1"; }

# create NAME: xl create, from $WORK/NAME.cfg.
create() {
    rm -f "$CONSOLES/guest-$1.log"
    xl create "$WORK/$1.cfg" || fail "xl create $1"
    xl domid "$1" >"$WORK/$1.id"
}

# id_of NAME: the domain id that NAME had when it was created.
id_of() { cat "$WORK/$1.id"; }

# back_dir BACKEND-ID NAME: where XenStore keeps the backend's half of a domain's vif.
back_dir() { echo "/local/domain/$1/backend/vif/$(id_of "$2")/0"; }

# vif_connected BACKEND-ID NAME: both halves of a domain's vif are in state 4, Connected.
vif_connected() {
    [ "$(xenstore-read "$(back_dir "$1" "$2")/state")" = 4 ] &&
        [ "$(xenstore-read "/local/domain/$(id_of "$2")/device/vif/0/state")" = 4 ]
}

# in_client NAME COMMAND…: runs shell text in a client, prints what it printed and returns its exit status.
in_client() {
    local name="$1" data number status
    data=/local/domain/$(id_of "$1")/data
    shift
    number=$(date +%s%N)
    xenstore-write -R -- "$data/command" "$number $*"
    await 120 "the client's answer to: $*" answered "$data" "$number"
    printf '%s\n' "$(xenstore-read -R "$data/output")" | tee "$WORK/$name.answer"
    status=$(xenstore-read -R "$data/status")
    return "${status#* }"
}
answered() { [ "$(xenstore-read -R "$1/status" | cut -d ' ' -f 1)" = "$2" ]; }

# start_ping NAME: a client pings the uplink five times a second.
start_ping() { in_client "$1" "ping -i 0.2 $UPLINK >/tmp/ping 2>&1 &"; }

# stop_ping NAME: when one more answer has come, stops that; $lost is how many answers are missing before the last. What is
# still on its way is not lost.
stop_ping() {
    # shellcheck disable=SC2016 # expanded in the client
    in_client "$1" '
        answers() { sed -n "s/.*icmp_seq=\([0-9]*\) .*/\1/p" /tmp/ping; }
        before=$(answers | wc -l)
        until [ "$(answers | wc -l)" -gt "$before" ]; do usleep 50000; done
        kill -INT "$(pidof ping)"
        answers | awk "{ last = \$1 } END { print \"lost\", last - NR }"' || fail "no ping in $1"
    lost=$(awk '/^lost / { print $2 }' "$WORK/$1.answer")
}

# serve_hello NAME: a client serves /hello by HTTP, on ports 8000 and 8001.
serve_hello() {
    in_client "$1" "
        mkdir /tmp/www && echo hello from $1 >/tmp/www/hello
        httpd -p 8000 -h /tmp/www && httpd -p 8001 -h /tmp/www"
}

# saw NAME PATTERN: the last command in a client must have printed a line that matches (grep -E).
saw() { grep -E -q -e "$2" "$WORK/$1.answer" || fail "expected /$2/ in the answer of $1"; }

# console NAME [PATTERN]: what a domain said; with PATTERN, succeeds if a line of it matches (grep -E).
console() {
    case $# in
    1) cat "$CONSOLES/guest-$1.log" ;;
    *) grep -E -q -e "$2" "$CONSOLES/guest-$1.log" ;;
    esac
}

# says NAME PATTERN: waits for a line on a domain's console.
says() { await 20 "/$2/ on the console of $1" console "$1" "$2"; }

# running NAME: the domain was created and not destroyed since.
running() { [ -e "$WORK/$1.id" ]; }

# crashed NAME: the domain ended as crashed and is preserved.
crashed() { xl list "$1" | grep -E -q ' ....c. '; }

# cpu_seconds NAME: the processor time that a domain has used.
cpu_seconds() { xl list "$1" | awk 'END { print $NF }'; }

# destroy_all: no domain but dom0 is left. The firewall goes first: what is left of its vifs then goes with it. So do
# daemons of QubesDB.
destroy_all() {
    local name names
    names=$(xl list | awk 'NR > 2 { if ($1 == "fw") first = $1; else rest = rest " " $1 } END { print first rest }')
    for name in $names; do
        xl destroy "$name" || fail "xl destroy $name"
    done
    for name in "$WORK"/*.qubesdb-pid; do
        [ ! -e "$name" ] || kill "$(cat "$name")" 2>/dev/null || true
    done
    rm -f "$WORK"/*.qubesdb*
    rm -f "$WORK"/*.id "$WORK"/*.seen "$CONSOLES"/guest-*.log
}

# report_of NAME: has a firewall say on its console what it did.
report_of() {
    local before
    before=$(reports "$1")
    xl sysrq "$1" s && await 10 "the report of $1" more_reports "$1" "$before"
}
reports() { console "$1" | grep -c 'ports: ' || true; }
more_reports() { [ "$(reports "$1")" -gt "$2" ]; }

# evidence: what one wants to see of a scenario that failed.
evidence() {
    local log
    ! running fw || crashed fw || (report_of fw) >/dev/null 2>&1
    for log in "$WORK"/*.seen; do
        [ -e "$log" ] || continue
        echo "--- captured: $(basename "$log" .seen), last lines"
        tail -n 30 "$log"
    done
    for log in "$WORK"/*.qubesdb-log; do
        [ -e "$log" ] || continue
        echo "--- QubesDB of $(basename "$log" .qubesdb-log), last lines"
        tail -n 40 "$log"
    done
    for log in "$CONSOLES"/guest-*.log; do
        [ -e "$log" ] || continue
        echo "--- console of $(basename "$log" .log), last lines"
        tail -n 60 "$log" | tr -d '\r'
    done
    echo '--- xl list'
    xl list
    echo '--- xl dmesg since dom0 started'
    xl dmesg | tail -n 20
    echo '--- vifs in XenStore'
    xenstore-ls -f /local/domain | grep -E '/(backend|device)/vif' || echo none
}

# balance NAME LABEL: has the firewall say what it holds (docs/testing.md), and keeps that under LABEL.
balance() {
    local before
    before=$(balances "$1")
    xl sysrq "$1" m || fail "xl sysrq $1"
    await 20 "the balance of $1" more_balances "$1" "$before"
    console "$1" | tr -d '\r' | grep -o 'balance: .*' | tail -n 1 | tee "$WORK/$1.balance-$2"
}
balances() { console "$1" | grep -c 'balance: ' || true; }
more_balances() { [ "$(balances "$1")" -gt "$2" ]; }

# settles NAME LABEL: when all is quiet again it holds exactly what it held then.
settles() { await 30 "$1 to hold what it held: $(cat "$WORK/$1.balance-$2"); last: see its console" balance_is "$1" "$2"; }
balance_is() {
    balance "$1" now
    cmp -s "$WORK/$1.balance-$2" "$WORK/$1.balance-now"
}

# backend_in DIRECTORY STATE: a backend has written this state.
backend_in() { [ "$(xenstore-read "$1/state")" = "$2" ]; }

# vif_traces NAME: XenStore has something of a domain's vif.
vif_traces() { xenstore-ls -f | grep -E "/vif/$(id_of "$1")(/| =)|/domain/$(id_of "$1")/device/vif/0|/libxl/$(id_of "$1")/device/vif/0"; }

# disconnected_times NAME COUNT: a firewall has said so often that it lost its uplink.
disconnected_times() { [ "$(console "$1" | grep -c 'uplink: disconnected')" -ge "$2" ]; }

# rebooted NAME ID: there is a domain of that name with another number.
rebooted() {
    local number
    number=$(xl domid "$1") && [ "$number" != "$2" ]
}

# capture NAME FILTER…: writes what passes on the firewall's uplink from now on to $WORK/NAME.seen, a line per frame, with
# Ethernet addresses and the seconds of dom0's clock in front.
capture() {
    local name="$1"
    shift
    # The background opens its files when it gets to it: until then nothing of an earlier capture is to be read there.
    rm -f "$WORK/$name.seen" "$WORK/tcpdump.log"
    tcpdump -Z root -l -n -p -e -tt -i "$(uplink_device)" "$@" >"$WORK/$name.seen" 2>"$WORK/tcpdump.log" &
    await 20 'tcpdump to listen' grep -q 'listening on' "$WORK/tcpdump.log"
}

# uplink_device: dom0's end of the firewall's uplink.
uplink_device() { echo "vif$(id_of fw).0"; }

# number_of NAME: takes down the number that a domain has now.
number_of() { xl domid "$1" >"$WORK/$1.id"; }

# tiny_client NAME ADDRESS [vif=no]: a client of 8 MB that does nothing but connect: a firewall with this one as its uplink.
tiny_client() {
    {
        ravelin "$1" 8
        [ "${3-}" = vif=no ] || echo "vif=['$(client_vif "$2")']"
        echo "extra='ipv4=$2/32 gateway=$GATEWAY'"
    } >"$WORK/$1.cfg"
    create "$1"
}

# second_firewall NAME [ADDRESS GATEWAY CLIENTS-GATEWAY]: a firewall between dom0 and another one, whose clients are in 10.9.0.0/24
# if nothing else is said.
second_firewall() {
    {
        ravelin "$1" 16
        echo "extra='ipv4=${2-$FIREWALL}/24 gateway=${3-$UPLINK} client-gateway=${4-10.9.0.1}'"
        echo "vif=['mac=00:16:3e:00:00:05,ip=${2-$FIREWALL},script=$RIG/dom0/vif-uplink']"
    } >"$WORK/$1.cfg"
    create "$1"
    await 30 "the uplink of $1 to be connected" vif_connected 0 "$1"
}

# qube_domain [memory=MB] [vif=SETTINGS|no] [kernelopts=WORDS]: creates `fw` as Qubes creates a firewall qube, up to the moment
# before it is unpaused: its vif is there (of dom0, if SETTINGS say nothing else), its QubesDB daemon is started, once, and has no
# keys.
qube_domain() {
    local argument memory=32 kernelopts='' vif="ip=$FIREWALL,script=$RIG/dom0/vif-uplink"
    for argument; do
        case $argument in
        memory=*) memory=${argument#*=} ;;
        vif=*) vif=${argument#*=} ;;
        kernelopts=*) kernelopts=${argument#*=} ;;
        *) fail "qube_domain: unknown argument $argument" ;;
        esac
    done
    {
        ravelin fw "$memory"
        echo "extra='$kernelopts'"
        [ "$vif" = no ] || echo "vif=['mac=00:16:3e:5e:6c:00,$vif']"
    } >"$WORK/fw.cfg"
    rm -f "$CONSOLES/guest-fw.log" "$WORK"/fw.qubesdb*
    xl create -p "$WORK/fw.cfg" || fail 'xl create -p fw'
    xl domid fw >"$WORK/fw.id"
    start_qubesdb fw
}

# start_qubesdb NAME [KEYS]: starts the QubesDB daemon of a domain, with the lines "PATH VALUE" of the file KEYS in it.
start_qubesdb() {
    python3 -S -E "$RIG/dom0/qubesdb.py" "$(id_of "$1")" "$WORK/$1.qubesdb" ${2+"$2"} >>"$WORK/$1.qubesdb-log" 2>&1 &
    echo $! >"$WORK/$1.qubesdb-pid"
    await 120 "the QubesDB daemon of $1 to listen" test -S "$WORK/$1.qubesdb"
}

# kill_qubesdb NAME: ends that daemon as a crash does.
kill_qubesdb() {
    kill -KILL "$(cat "$WORK/$1.qubesdb-pid")" || fail "no QubesDB daemon of $1"
    rm -f "$WORK/$1.qubesdb"
}

# qubesdb NAME VERB…: what dom0's qubesd does to the QubesDB of a domain: see qubesd.py.
qubesdb() {
    local name="$1"
    shift
    python3 -S -E "$RIG/dom0/qubesd.py" "$WORK/$name.qubesdb" "$@"
}

# qubesdb_log NAME PATTERN: the daemon has said so (grep -E). qubesdb_lives NAME: it runs.
qubesdb_log() { grep -E -q -e "$2" "$WORK/$1.qubesdb-log"; }
qubesdb_lives() { kill -0 "$(cat "$WORK/$1.qubesdb-pid")"; }

# firewall_qube [COMMAND…]: creates `fw` as Qubes does, with dom0 as its netvm; COMMAND writes what its QubesDB says of clients before
# it is unpaused. Waits until its uplink is connected.
firewall_qube() {
    # Without the two empty files of the kernel folder a qube gets these words.
    qube_domain kernelopts='root=/dev/mapper/dmroot ro nomodeset console=hvc0 rd_NO_PLYMOUTH rd.plymouth.enable=0 plymouth.enable=0 xen_privcmd.unrestricted  swiotlb=2048'
    qubesdb fw create "gateway=$GATEWAY" "ip=$FIREWALL" "uplink=$UPLINK"
    qubesdb fw write /vm-config/ravelin-log info
    "$@"
    xl unpause fw || fail 'xl unpause fw'
    await 30 'the uplink to be connected' vif_connected 0 fw
}

# rules ADDRESS RULE…: gives a client of `fw` these rules as qubesd does, and waits until they are in force. $triggered is when the
# trigger was written, by the seconds of dom0's clock.
rules() {
    local count
    count=$(handled "$1")
    triggered=$(qubesdb fw rules "$@") || fail "no rules for $1"
    await 120 "the rules of $1 to be in force" handled_more "$1" "$count"
}

# handled ADDRESS: how many times `fw` says that it took up the rules of this client. From the daemon's log, as a new interpreter takes
# a while.
handled() {
    local count
    count=$(sed -n "s|.* write /qubes-firewall-handled/$1 ||p" "$WORK/fw.qubesdb-log" | tail -n 1)
    echo "${count:-0}"
}
handled_more() { [ "$(handled "$1")" -gt "$2" ]; }
