# Where Xen enters the kernel of a PVH domain, its descriptors, stacks for exceptions, and the exception stubs.
# Facts: docs/misc/pvh.pandoc of Xen, arch-x86/hvm/start_info.h; Intel's manual, volume 3.

.set CODE, 8
.set DATA, 16
.set TASK_STATE, 24

# ---- Entry: ebx = physical address of hvm_start_info ----------------------------------------------
# 32-bit protected mode without paging; segments are flat, but there is no descriptor table, and no stack.
.section .text.entry, "ax", @progbits
.code32
.global pvh_entry
pvh_entry:
    cld
    mov esp, offset stack_top
    xor ebp, ebp

    # The first GiB as it is, in pages of 2 MiB that may be written and executed: until the memory map is known.
    # Tables are zero to begin with: they are in .bss.
    mov edi, offset boot_directory
    mov eax, 0x83                   # present, writable, large
map_page:
    mov [edi], eax
    add edi, 8
    add eax, 0x200000
    cmp eax, 0x40000083
    jne map_page
    mov dword ptr [boot_pointers], offset boot_directory + 3
    mov dword ptr [boot_top], offset boot_pointers + 3

    mov eax, cr4
    or eax, 1 << 5                  # PAE
    mov cr4, eax
    mov eax, offset boot_top
    mov cr3, eax
    mov ecx, 0xc0000080             # EFER
    rdmsr
    or eax, 1 << 8                  # LME
    wrmsr
    mov eax, cr0
    or eax, 1 << 31 | 1 << 16 | 1   # PG, WP, PE
    mov cr0, eax

    lgdt [gdt_pointer]
    push CODE
    mov eax, offset long_mode
    push eax
    retf
.code64
long_mode:
    mov eax, DATA
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    mov esp, offset stack_top       # once more: the upper half was undefined until now
    mov edi, 1                      # Guest::Pvh
    mov esi, ebx
    call kernel_main
    ud2

# ---- Descriptors -----------------------------------------------------------------------------------
# Among the constants: filled in at boot, and read-only from when page permissions are in force.
.section .rodata.descriptors, "a", @progbits
.balign 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # CODE: 64-bit
    .quad 0x00cf93000000ffff        # DATA
.global gdt_task_state
gdt_task_state:
    .quad 0, 0
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt

# struct of Intel's figure 8-11: no stacks for other rings, stacks 1 and 2 of the seven, no I/O permissions.
.balign 8
.global task_state
task_state:
    .long 0
    .quad 0, 0, 0, 0
    .quad exception_stack_top, last_stack_top
    .quad 0, 0, 0, 0, 0, 0
    .word 0, 104

.balign 16
.global interrupt_descriptors
interrupt_descriptors:
    .skip 32 * 16
.global interrupt_descriptors_pointer
interrupt_descriptors_pointer:
    .word 32 * 16 - 1
    .quad interrupt_descriptors

# ---- Exceptions ------------------------------------------------------------------------------------
# The CPU pushes (error code), rip, cs, rflags, rsp, ss.
.section .text.trap, "ax", @progbits
.macro exception vector
exception_\vector:
    .if (0x60227d00 >> \vector) & 1 == 0
    push 0                          # vectors 8, 10-14, 17, 21, 29, 30 come with an error code
    .endif
    push \vector
    jmp trap_common
.endm

.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    exception \vector
.endr

.section .rodata.exceptions, "a", @progbits
.balign 8
.global exception_stubs
exception_stubs:
.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    .quad exception_\vector
.endr

# ---- Stacks and tables -----------------------------------------------------------------------------
.section .bss.pvh, "aw", @nobits
.balign 4096
boot_top:
    .skip 4096
boot_pointers:
    .skip 4096
boot_directory:
    .skip 4096
# For exceptions: the stack that was in use may be what is wrong.
    .skip 8192
exception_stack_top:
# For what may come while an exception is reported: double faults, NMIs, machine checks.
    .skip 8192
last_stack_top:
