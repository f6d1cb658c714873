# A stack that overflows ends the domain as crashed, and is reported: by the firewall itself as PVH. As PV by Xen, which would
# have to tell the firewall on the very stack that is full.
# types pv pvh
firewall uplink=no extra=debug=stack-overflow
await 20 'the domain to be crashed' crashed fw
case $TYPE in
pv)
    xl dmesg | sed -n "/Domain $(id_of fw) (vcpu#0) crashed/,\$p" >"$WORK/report"
    expect 'Xen to name the domain' grep -q "Domain $(id_of fw) (vcpu#0) crashed" "$WORK/report"
    expect 'Xen to show where' grep -q 'cr2: [0-9a-f]' "$WORK/report"
    ;;
pvh)
    says fw 'CRASH page fault \(vector 14\) at rip 0x[0-9a-f]+'
    says fw 'the stack overflowed: this is its guard page'
    ;;
esac
