//! Hypercalls from a 64-bit PV guest: number in rax, arguments in rdi, rsi, rdx, r10, r8, result in rax.
//!
//! The `syscall` instruction is issued inline: no hypercall page (XSA-466).

use core::arch::asm;

/// Issues hypercall `number`; what Xen returns, an error if it is negative.
///
/// # Safety
/// The arguments are what this hypercall takes, and memory that they point to is valid for what Xen does.
#[inline(always)]
pub unsafe fn hypercall(number: u32, [rdi, rsi, rdx, r10]: [u64; 4]) -> i64 {
    let result;
    // SAFETY: the caller's contract. Xen may change the argument registers, rcx and r11, and memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") u64::from(number) => result,
            inlateout("rdi") rdi => _,
            inlateout("rsi") rsi => _,
            inlateout("rdx") rdx => _,
            inlateout("r10") r10 => _,
            lateout("r8") _,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}
