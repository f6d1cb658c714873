//! The instruction that enters Xen: number in rax, arguments in rdi, rsi, rdx, r10, r8, result in rax.
//!
//! It is issued inline: no hypercall page (XSA-466). A PV guest's `syscall` is what the image has; in a PVH guest each
//! place gets the CPU's own instruction at boot, while text can still be written. So no call has to ask which it is.

use crate::xen::cpuid::VmCall;
use core::arch::asm;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

unsafe extern "C" {
    /// Where the addresses of all the places begin and end, from `linker.ld`.
    static hypercall_sites: u8;
    static hypercall_sites_end: u8;
}

/// `syscall` behind a REX prefix that does nothing: as long as `vmcall`.
const SYSCALL: [u8; 3] = [0x48, 0x0f, 0x05];

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
            // `SYSCALL`. Where Xen has a PV guest repeat a hypercall it goes back by two bytes, to the `syscall` itself.
            "77: .byte 0x48, 0x0f, 0x05",
            ".pushsection .hypercall_sites, \"a\", @progbits",
            ".long 77b",
            ".popsection",
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

/// Puts a CPU's instruction in all places.
///
/// # Safety
/// Called once, before any hypercall, in ring 0, while the image's text is mapped writable.
pub unsafe fn patch(call: VmCall) {
    // Numbers and not pointers into a static: what the linker laid out between two symbols is no object of Rust's.
    let sites = (&raw const hypercall_sites).expose_provenance()..(&raw const hypercall_sites_end).addr();
    for site in sites.step_by(size_of::<u32>()) {
        // SAFETY: one of the addresses that `hypercall` noted, of three bytes of text, which nothing executes now.
        unsafe {
            let place: *mut [u8; 3] =
                with_exposed_provenance_mut(with_exposed_provenance::<u32>(site).read() as usize);
            if place.read_volatile() == SYSCALL {
                place.write_volatile(call.code());
            }
        }
    }
}
