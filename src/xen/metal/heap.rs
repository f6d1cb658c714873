//! The heap: tables sized at boot, and what comes and goes with clients. Nothing per packet.

use core::ops::Range;
use talc::TalcLock;
use talc::source::Manual;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Opens the heap on `memory`.
///
/// # Safety
/// `memory` is mapped writable and used by nothing else for the rest of the program.
pub unsafe fn open(memory: Range<usize>) -> bool {
    // SAFETY: the caller's contract.
    unsafe { HEAP.lock().claim(memory.start as *mut u8, memory.len()) }.is_some()
}
