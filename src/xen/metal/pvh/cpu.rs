//! The CPU as a PVH guest has it for itself, in ring 0: CPUID, control registers, model-specific registers.

use crate::xen::cpuid::{self, Leaf, VmCall};
use core::arch::asm;
use core::arch::x86_64::__cpuid;

/// Extended feature enables, and in it: pages can be not executable.
const EFER: u32 = 0xc000_0080;
const NO_EXECUTE_ENABLE: u64 = 1 << 11;

fn leaf(number: u32) -> Leaf {
    let result = __cpuid(number);
    Leaf { eax: result.eax, ebx: result.ebx, ecx: result.ecx, edx: result.edx }
}

/// Where Xen's leaves begin.
pub fn xen_base() -> Option<u32> {
    cpuid::xen_base(leaf)
}

/// Number of the MSR that takes the address of a hypercall page.
pub fn hypercall_msr(base: u32) -> u32 {
    cpuid::hypercall_msr(base, leaf)
}

/// The instruction that enters Xen.
pub fn vm_call() -> VmCall {
    VmCall::of(&leaf(0))
}

/// Turns on what the CPU has to enforce permissions of pages; whether that includes the permission to execute.
pub fn protect() -> bool {
    if leaf(0).eax >= 7 {
        let bits = cpuid::protections(&leaf(7));
        // SAFETY: the CPU has these bits, and no page of ours is a user page.
        unsafe {
            asm!("mov {old}, cr4", "or {old}, {bits}", "mov cr4, {old}", bits = in(reg) bits, old = out(reg) _)
        };
    }
    let has_no_execute = leaf(0x8000_0000).eax >= 0x8000_0001 && cpuid::has_no_execute(&leaf(0x8000_0001));
    if has_no_execute {
        // SAFETY: the CPU has the bit, and the page tables in use do not have the one that it gives a meaning to.
        unsafe { write_msr(EFER, read_msr(EFER) | NO_EXECUTE_ENABLE) };
    }
    has_no_execute
}

/// # Safety
/// There is such a register.
unsafe fn read_msr(number: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's contract.
    unsafe { asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(low) | u64::from(high) << 32
}

/// Writes a model-specific register.
///
/// # Safety
/// There is such a register, and what the value makes of it breaks nothing that the program relies on.
pub unsafe fn write_msr(number: u32, value: u64) {
    // SAFETY: the caller's contract.
    unsafe {
        asm!("wrmsr", in("ecx") number, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack))
    };
}
