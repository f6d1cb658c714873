# ELF notes of the image, owner "Xen": how it is to be loaded and where it is entered.
# Facts: xen/include/public/elfnote.h.

.macro note_string type, text
    .balign 4
    .long 4, 2f - 1f, \type
    .asciz "Xen"
1:  .asciz "\text"
2:  .balign 4
.endm

.macro note_word type, value
    .balign 4
    .long 4, 8, \type
    .asciz "Xen"
    .quad \value
.endm

.section .note.Xen, "a", @note
    note_word   1, entry            # ENTRY (PV)
    note_word   3, 0                # VIRT_BASE
    note_word   4, 0                # PADDR_OFFSET
    note_string 5, "xen-3.0"        # XEN_VERSION
    note_string 6, "ravelin"        # GUEST_OS
    note_string 8, "generic"        # LOADER
    note_word   18, pvh_entry       # PHYS32_ENTRY (PVH)
