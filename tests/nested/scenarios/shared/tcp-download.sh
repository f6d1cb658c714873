# 50 MB arrive as they were sent.
# types pv pvh
# limit 400
shared_client alice
sum=$(in_client alice "timeout 300 wget -q -O - http://$UPLINK/large | sha256sum")
expect 'the SHA-256 of the file' [ "${sum%% *}" = "$(cat /srv/large.sha256)" ]
