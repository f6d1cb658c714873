//! Simulation only: shared pages tell when they are touched, so that peers can act between two accesses.
//!
//! Counts accesses down and then calls whoever is registered for this thread. Nothing in the kernel depends
//! on it.

use alloc::boxed::Box;
use core::cell::{Cell, RefCell};

/// What is called; says how many accesses may pass before the next call.
type Listener = Box<dyn FnMut() -> u32>;

std::thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
    static LAST: Cell<usize> = const { Cell::new(0) };
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Calls `listener` at the next access to a shared page by this thread, and again after as many accesses as
/// it says. Accesses within the call are not counted.
pub fn listen(listener: Option<Listener>) {
    LEFT.set(if listener.is_some() { 1 } else { u32::MAX });
    LISTENER.with(|place| *place.borrow_mut() = listener);
}

/// Where a shared page was last read or written: an adversary may know.
pub fn last() -> usize {
    LAST.get()
}

/// A shared page is about to be read or written at `address`.
#[inline]
pub(super) fn now(address: usize) {
    let left = LEFT.get();
    if left > 1 {
        LEFT.set(left - 1);
    } else {
        call();
    }
    LAST.set(address);
}

#[cold]
fn call() {
    LEFT.set(u32::MAX);
    let again = LISTENER.with(|place| match place.try_borrow_mut() {
        Ok(mut listener) => listener.as_mut().map_or(u32::MAX, |listener| listener()),
        Err(_) => u32::MAX,
    });
    LEFT.set(again.max(1));
}
