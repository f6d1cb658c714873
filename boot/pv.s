# Where Xen enters the kernel of a 64-bit PV domain, and its trap stubs.
# Facts: arch-x86/xen-x86_64.h.

# ---- Entry: rsi = virtual address of start_info --------------------------------------------------
.section .text.entry, "ax", @progbits
.global entry
entry:
    cld
    lea rsp, [rip + stack_top]
    xor ebp, ebp
    xor edi, edi                    # Guest::Pv
    call kernel_main
    ud2

# ---- Traps ----------------------------------------------------------------------------------------
# Xen pushes rcx, r11, (error code), rip, cs, rflags, rsp, ss. Each stub brings this to the shape that trap_common
# (trap.s) takes.
.macro trap vector, error
trap_\vector:
    pop rcx
    pop r11
    .if \error == 0
    push 0
    .endif
    push \vector
    jmp trap_common
.endm

trap 0, 0
trap 1, 0
trap 3, 0
trap 4, 0
trap 5, 0
trap 6, 0
trap 7, 0
trap 8, 1
trap 10, 1
trap 11, 1
trap 12, 1
trap 13, 1
trap 14, 1
trap 16, 0
trap 17, 1
trap 18, 0
trap 19, 0
trap 21, 1

# struct trap_info of arch-x86/xen.h: vector u8, flags u8, code segment u16, address u64; ends with zeroes.
# 0xe033 is Xen's flat 64-bit kernel code segment.
.macro trap_entry vector
    .byte \vector, 0
    .word 0xe033
    .long 0
    .quad trap_\vector
.endm

.section .rodata.traps, "a", @progbits
.balign 8
.global trap_table
trap_table:
    trap_entry 0
    trap_entry 1
    trap_entry 3
    trap_entry 4
    trap_entry 5
    trap_entry 6
    trap_entry 7
    trap_entry 8
    trap_entry 10
    trap_entry 11
    trap_entry 12
    trap_entry 13
    trap_entry 14
    trap_entry 16
    trap_entry 17
    trap_entry 18
    trap_entry 19
    trap_entry 21
    .quad 0, 0
