# A network that delivers fragments twice, both ways: the client sends them so, in several orders, and what comes back is
# doubled by dom0. The contents arrive as they were sent.
shared_client carol
tc qdisc add dev "$(uplink_device)" root netem limit 10000 duplicate 100%
in_client carol "/tools/fragments $UPLINK 7"
# Fragments of the client's own kernel, and their doubled answer.
in_client carol "ping -c 3 -w 20 -s 8000 $UPLINK"
# What is whole passes twice: it was doubled indeed.
in_client carol "ping -c 3 -w 20 $UPLINK"
saw carol '[0-9]+ duplicates'
tc qdisc del dev "$(uplink_device)" root
