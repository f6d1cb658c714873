# What writes to the page tables, which say what may be done with each page, is reported, and ends the domain as crashed.
# types pv pvh
firewall uplink=no extra=debug=write-page-table
says fw 'CRASH page fault \(vector 14\) at rip 0x[0-9a-f]+'
says fw 'fault address 0x[0-9a-f]{16}: writing, not permitted'
await 10 'the domain to be crashed' crashed fw
