//! The heap: tables sized at boot, and what comes and goes with clients. Nothing per packet.

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use talc::TalcLock;
use talc::source::Manual;

/// The allocator, called and never inlined: there are a thousand places that allocate or free, and its lock is a loop.
struct Heap(TalcLock<spin::Mutex<()>, Manual>);

#[cfg_attr(feature = "kernel", global_allocator)]
static HEAP: Heap = Heap(TalcLock::new(Manual));

// SAFETY: `TalcLock` keeps the contract, and it alone is called.
unsafe impl GlobalAlloc for Heap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        unsafe { self.0.alloc(layout) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    #[inline(never)]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's contract.
        unsafe { self.0.realloc(pointer, layout, bytes) }
    }
}

/// Opens the heap on `memory`.
///
/// # Safety
/// `memory` is mapped writable and used by nothing else for the rest of the program.
pub unsafe fn open(memory: Range<usize>) -> bool {
    // SAFETY: the caller's contract.
    unsafe { HEAP.0.lock().claim(memory.start as *mut u8, memory.len()) }.is_some()
}
