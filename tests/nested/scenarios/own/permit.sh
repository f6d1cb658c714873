# A client reaches another one where the rules permit it, in that direction only.
cat >"$WORK/rules" <<RULES
[default]
policy=accept
[permit]
from=$ALICE to=$BOB action=accept proto=tcp dstports=8000-8000
RULES
firewall "rules=$WORK/rules"
client alice "$ALICE"
client bob "$BOB"
for name in alice bob; do
    serve_hello $name
done
in_client alice "timeout 20 wget -q -O - http://$BOB:8000/hello"
saw alice 'hello from bob'
refuse 'no other port' in_client alice "timeout 3 wget -q -O - http://$BOB:8001/hello"
refuse 'no way back' in_client bob "timeout 3 wget -q -O - http://$ALICE:8000/hello"
