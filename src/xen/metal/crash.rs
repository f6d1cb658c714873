//! What is said on the console when the kernel crashes: a CPU exception or a panic. Then the domain ends as crashed.

use super::image::Image;
use super::{logger, shutdown};
use crate::xen::Shutdown;
use core::arch::asm;
use core::fmt::Display;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU8, Ordering};

/// What `trap_common` pushed, lowest address first, and what was pushed before it.
#[repr(C)]
struct TrapFrame {
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

/// Crashes so far. Only the first is reported: reporting one that happens meanwhile could go on for ever.
static CRASHES: AtomicU8 = AtomicU8::new(0);

/// Begins a report; ends the domain if one has begun already, and stops if that is what crashes.
fn begin() {
    let before = CRASHES.load(Ordering::Relaxed);
    CRASHES.store(before.saturating_add(1), Ordering::Relaxed);
    match before {
        0 => {}
        1 => shutdown(Shutdown::Crash),
        _ => halt(),
    }
}

/// Stops the CPU for good: with interrupts off, Xen ends the domain then.
pub fn halt() -> ! {
    loop {
        // SAFETY: nothing more is to be done.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Reports a CPU exception and ends the domain. `fault_address` is cr2, which counts after a page fault. Called by
/// `trap_common`.
#[unsafe(no_mangle)]
extern "C" fn trap_report(frame: &TrapFrame, fault_address: u64) -> ! {
    begin();
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
        if Image::linked().is_guard(fault_address) {
            logger::report(format_args!("  the stack overflowed: this is its guard page"));
        }
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

/// Reports why the platform did not come up, and ends the domain.
pub fn boot_failed(why: impl Display) -> ! {
    begin();
    logger::report(format_args!("CRASH at boot: {why}"));
    shutdown(Shutdown::Crash)
}

/// Reports a Rust panic and ends the domain.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    begin();
    logger::report(format_args!("CRASH panic: {info}"));
    shutdown(Shutdown::Crash)
}

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "division error",
        1 => "debug exception",
        2 => "non-maskable interrupt",
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
