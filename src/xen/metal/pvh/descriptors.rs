//! Interrupt descriptors and the task-state segment: every exception is reported, on a stack of its own.
//!
//! Nothing returns from an exception, so all of them share one stack, which makes an overflown stack a page fault like
//! any other; what may come while that is reported has a second one. The tables lie among the constants (`boot/pvh.s`).

use crate::xen::descriptor::{interrupt_gate, task_state_descriptor};
use core::arch::asm;

/// Exceptions of the CPU.
const VECTORS: usize = 32;
/// Selectors of `boot/pvh.s`.
const CODE: u16 = 8;
const TASK_STATE: u16 = 24;
/// Numbers of the stacks in the task-state segment.
const EXCEPTION_STACK: u8 = 1;
const LAST_STACK: u8 = 2;

const NON_MASKABLE_INTERRUPT: usize = 2;
const DOUBLE_FAULT: usize = 8;
const MACHINE_CHECK: usize = 18;

/// Bytes of a task-state segment.
const TASK_STATE_BYTES: u16 = 104;

unsafe extern "C" {
    static mut gdt_task_state: [u64; 2];
    static task_state: u8;
    static mut interrupt_descriptors: [[u64; 2]; VECTORS];
    static interrupt_descriptors_pointer: u8;
    /// Where each exception is to enter.
    static exception_stubs: [u64; VECTORS];
}

/// Has the CPU enter our stubs at exceptions.
///
/// # Safety
/// Called once, at boot, in ring 0, while constants are mapped writable.
pub unsafe fn install() {
    let base = (&raw const task_state) as u64;
    // SAFETY: the tables of `boot/pvh.s`, which nothing else refers to; the CPU uses nothing of what is written yet. The stubs take what
    // the CPU pushes, and the stacks are theirs.
    unsafe {
        (&raw mut gdt_task_state).write_volatile(task_state_descriptor(base, TASK_STATE_BYTES));
        for (vector, stub) in exception_stubs.iter().enumerate() {
            let stack = match vector {
                NON_MASKABLE_INTERRUPT | DOUBLE_FAULT | MACHINE_CHECK => LAST_STACK,
                _ => EXCEPTION_STACK,
            };
            let gate = (&raw mut interrupt_descriptors).cast::<[u64; 2]>().add(vector);
            gate.write_volatile(interrupt_gate(*stub, CODE, stack));
        }
        asm!("lidt [{}]", in(reg) &raw const interrupt_descriptors_pointer, options(nostack, preserves_flags));
        asm!("ltr {0:x}", in(reg) TASK_STATE, options(nostack, preserves_flags));
    }
}
