# What reads through a null pointer is reported, and ends the domain as crashed: page zero is not mapped.
# types pv pvh
firewall uplink=no extra=debug=null
says fw 'CRASH page fault \(vector 14\) at rip 0x[0-9a-f]+'
says fw 'fault address 0x0000000000000000: reading, nothing is mapped there'
await 10 'the domain to be crashed' crashed fw
