//! Simulation and tests only: an allocator that counts what the kernel's own code allocates.
//!
//! The simulated kernel and the world around it share one process. Each thread says whose work it does
//! ([`charge`]); only the kernel's is counted. A program that wants figures makes [`Meter`] its global
//! allocator; in any other they stay zero. What one account allocates the same account must free.

use core::cell::Cell;
use std::alloc::{GlobalAlloc, Layout, System};

/// Whose work a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// The code under test: counted.
    Kernel,
    /// The test, or the simulated world: not counted.
    World,
}

/// What this thread allocated for [`Payer::Kernel`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Allocated and not freed.
    pub live_bytes: i64,
    /// Most of that at any time since [`reset`].
    pub peak_bytes: i64,
    /// Allocations made.
    pub allocations: u64,
}

std::thread_local! {
    static ACCOUNT: Cell<Payer> = const { Cell::new(Payer::World) };
    static READING: Cell<Reading> = const { Cell::new(Reading { live_bytes: 0, peak_bytes: 0, allocations: 0 }) };
}

/// Charges this thread's work to `account` until the guard is dropped.
#[must_use = "the work is charged as before once the guard is dropped"]
pub fn charge(account: Payer) -> MeterGuard {
    MeterGuard { before: ACCOUNT.replace(account) }
}

/// See [`charge`].
#[derive(Debug)]
pub struct MeterGuard {
    before: Payer,
}

impl Drop for MeterGuard {
    fn drop(&mut self) {
        ACCOUNT.set(self.before);
    }
}

/// The figures so far.
pub fn reading() -> Reading {
    READING.get()
}

/// Begins anew.
pub fn reset() {
    READING.set(Reading::default());
}

/// The counting allocator.
#[derive(Debug)]
pub struct Meter;

impl Meter {
    fn count(bytes: i64) {
        // A thread that ends may free after its own storage is gone.
        if ACCOUNT.try_with(Cell::get) == Ok(Payer::Kernel) {
            let _ = READING.try_with(|place| {
                let mut reading = place.get();
                reading.live_bytes += bytes;
                reading.peak_bytes = reading.peak_bytes.max(reading.live_bytes);
                reading.allocations += u64::from(bytes > 0);
                place.set(reading);
            });
        }
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Meter {
    // SAFETY: as the caller promises.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size() as i64);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as the caller promises.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::count(-(layout.size() as i64));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
