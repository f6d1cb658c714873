//! Hypercalls: one, one with a command and its argument, several in one.

use super::instruction;
use crate::xen::XenError;
use crate::xen::abi::Multicall;
use core::sync::atomic::{AtomicU64, Ordering};
use xen_sys::{__HYPERVISOR_grant_table_op, __HYPERVISOR_multicall};

/// Hypercalls since boot. There is one vCPU and no interrupt: load and store count as well as an atomic addition.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// How many hypercalls there were since boot.
pub fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// Issues hypercall `number`.
///
/// # Safety
/// The arguments are what this hypercall takes, and memory that they point to is valid for what Xen does.
pub unsafe fn hypercall<const N: usize>(number: u32, arguments: [u64; N]) -> Result<u64, XenError> {
    const { assert!(N <= 4) };
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    CALLS.store(calls().wrapping_add(1), Ordering::Relaxed);
    // SAFETY: the caller's contract.
    let result =
        unsafe { instruction::hypercall(number, [argument(0), argument(1), argument(2), argument(3)]) };
    u64::try_from(result).map_err(|_| XenError(result))
}

/// A hypercall that takes a command and a pointer to its argument.
///
/// # Safety
/// `argument` is the structure that `command` of hypercall `number` takes.
pub unsafe fn operation<T>(number: u32, command: u32, argument: &mut T) -> Result<u64, XenError> {
    // SAFETY: the caller's contract; the structure is exclusively borrowed for the call.
    unsafe { hypercall(number, [u64::from(command), core::ptr::from_mut(argument) as u64]) }
}

/// A grant table hypercall: a command, and an array of operations that each get a status.
///
/// # Safety
/// `operations` are the structures that `command` takes, and what they name may be read and written.
pub unsafe fn grant_operations<T>(command: u32, operations: &mut [T]) -> Result<(), XenError> {
    let arguments = [u64::from(command), operations.as_mut_ptr() as u64, operations.len() as u64];
    // SAFETY: the caller's contract; the array is exclusively borrowed for the call.
    unsafe { hypercall(__HYPERVISOR_grant_table_op, arguments) }.map(drop)
}

/// An [`operation`] for [`together`]. Xen reads `argument` and writes nothing to it.
pub fn entry<T>(number: u32, command: u32, argument: *const T) -> Multicall {
    let arguments = [u64::from(command), argument as u64, 0, 0, 0, 0];
    Multicall { number: number.into(), arguments, ..Multicall::default() }
}

/// Makes several hypercalls in order, entering Xen once. Their results are in the entries, unless there is but one.
///
/// # Safety
/// Each entry is a hypercall with what it takes, and memory that they point to is valid for what Xen does.
pub unsafe fn together(entries: &mut [Multicall]) {
    // What can go wrong with a call is its own matter.
    let _ = match entries {
        [] => return,
        // SAFETY: the caller's contract.
        [Multicall { number, arguments: [command, argument, ..], .. }] => unsafe {
            hypercall(*number as u32, [*command, *argument])
        },
        // SAFETY: the caller's contract; the array is exclusively borrowed for the call.
        _ => unsafe {
            hypercall(__HYPERVISOR_multicall, [entries.as_mut_ptr() as u64, entries.len() as u64])
        },
    };
}
