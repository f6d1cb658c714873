# Where the trap stubs of PV (pv.s) and PVH (pvh.s) meet: on the stack are the vector, the error code or zero, rip, cs,
# rflags, rsp, ss. Adds the registers and reports. Nothing returns from a trap.
.section .text.trap, "ax", @progbits
trap_common:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    mov rsi, cr2                    # a PV guest is given its own by Xen, which emulates this
    and rsp, -16
    cld
    call trap_report
    ud2
