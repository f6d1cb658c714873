# A frontend that finds the backend connected by its predecessor, as Windows' driver does, closes it and connects anew:
# 4, 5, 6, 1, 2, 4. Linux stands still meanwhile and lends its rings.
firewall
client alice "$ALICE"
in_client alice "ping -c 1 -w 20 $UPLINK"
balance fw before
backend=$(back_dir "$(id_of fw)" alice)
front=/local/domain/$(id_of alice)/device/vif/0
xl pause alice
for states in '5 5' '6 6' '1 2' '4 4'; do
    xenstore-write "$front/state" "${states% *}"
    await 10 "the backend to be in state ${states#* }" backend_in "$backend" "${states#* }"
done
xl unpause alice
in_client alice "ping -c 2 -w 20 $UPLINK"
settles fw before
# The same state written again, and ones that are none, change nothing.
for state in 4 3 7 8 99 '' 4; do
    xenstore-write "$front/state" "$state"
    case $state in 99 | '') xenstore-write "$front/state" 4 ;; esac
done
in_client alice "ping -c 2 -w 20 $UPLINK"
