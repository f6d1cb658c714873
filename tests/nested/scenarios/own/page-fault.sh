# A page fault reports the reason, its address and the registers, and ends the domain as crashed.
# types pv pvh
firewall uplink=no extra=debug=page-fault
says fw 'CRASH page fault \(vector 14\) at rip 0x[0-9a-f]+'
says fw 'fault address 0x0000700000000000: writing, nothing is mapped there'
says fw 'rax [0-9a-f]{16} +rbx [0-9a-f]{16}'
says fw 'r12 [0-9a-f]{16} +r13 [0-9a-f]{16}'
await 10 'the domain to be crashed' crashed fw
