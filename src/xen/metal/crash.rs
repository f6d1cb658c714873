//! What is said on the console when the kernel crashes: a CPU exception or a panic. Then the domain ends as crashed.

use super::{logger, shutdown};
use crate::xen::Shutdown;
use core::panic::PanicInfo;

/// What `trap_common` pushed, lowest address first, and what was pushed before it.
#[repr(C)]
pub struct TrapFrame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

const PAGE_FAULT: u64 = 14;

/// Reports a CPU exception and ends the domain. `fault_address` is cr2, which counts after a page fault.
pub fn exception(frame: &TrapFrame, fault_address: u64) -> ! {
    logger::report(format_args!(
        "CRASH {} (vector {}) at rip {:#x}, error code {:#x}",
        name(frame.vector),
        frame.vector,
        frame.rip,
        frame.error
    ));
    if frame.vector == PAGE_FAULT {
        let access = match (frame.error & 16 != 0, frame.error & 2 != 0) {
            (true, _) => "executing",
            (_, true) => "writing",
            _ => "reading",
        };
        let reason = if frame.error & 1 == 0 { "nothing is mapped there" } else { "not permitted" };
        logger::report(format_args!("  fault address {fault_address:#018x}: {access}, {reason}"));
    }
    for [(a, x), (b, y), (c, z), (d, w)] in [
        [("rax", frame.rax), ("rbx", frame.rbx), ("rcx", frame.rcx), ("rdx", frame.rdx)],
        [("rsi", frame.rsi), ("rdi", frame.rdi), ("rbp", frame.rbp), ("rsp", frame.rsp)],
        [("r8 ", frame.r8), ("r9 ", frame.r9), ("r10", frame.r10), ("r11", frame.r11)],
        [("r12", frame.r12), ("r13", frame.r13), ("r14", frame.r14), ("r15", frame.r15)],
        [("cs ", frame.cs), ("ss ", frame.ss), ("flg", frame.rflags), ("err", frame.error)],
    ] {
        logger::report(format_args!("  {a} {x:016x}  {b} {y:016x}  {c} {z:016x}  {d} {w:016x}"));
    }
    shutdown(Shutdown::Crash)
}

/// Reports a Rust panic and ends the domain.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    logger::report(format_args!("CRASH panic: {info}"));
    shutdown(Shutdown::Crash)
}

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "division error",
        1 => "debug exception",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "no floating-point unit",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection fault",
        PAGE_FAULT => "page fault",
        16 | 19 => "floating-point error",
        17 => "alignment check",
        18 => "machine check",
        21 => "control protection",
        _ => "unknown exception",
    }
}
