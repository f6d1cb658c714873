//! What a booted domain is made of, whichever way Xen starts it.

use super::frames::Frames;
use super::heap;
use super::hypercall::hypercall;
use super::{Metal, StoreLink};
use crate::xen::XenError;
use crate::xen::page::{PAGE_BYTES, Page, SharedPage};
use crate::xen::page_pool::PagePool;
use alloc::vec::Vec;
use core::ops::Range;
use core::ptr::NonNull;
use xen_sys::__HYPERVISOR_xen_version;

/// Pages that every kind of guest has above its memory: the shared info, the grant table, pages of peers, in this
/// order.
pub(super) const WINDOW_PAGES: usize = 1 + GRANT_FRAMES + MAP_SLOTS;

/// Frames of the grant table: 512 references each. The uplink uses up to 514, the rest is room for a second
/// connection while a slow peer still holds pages of the first.
pub(super) const GRANT_FRAMES: usize = 4;

/// Reserved addresses for pages of peers: two rings for each of 128 client vifs.
const MAP_SLOTS: usize = 256;

/// Share of the free memory that becomes heap (the flow table is on it); the rest are packet pages.
const HEAP_EIGHTHS: usize = 5;

/// A booted domain.
pub struct Boot {
    /// The hypervisor.
    pub xen: Metal,
    /// The way to xenstored.
    pub store: StoreLink,
    /// The kernel command line (`extra=` of xl.cfg), as far as it is UTF-8.
    pub command_line: Result<&'static str, core::str::Utf8Error>,
    /// The ramdisk, if the domain has one.
    pub ramdisk: Option<&'static [u8]>,
    /// Address of the top-level page table.
    pub page_table: usize,
    /// Bytes of memory that the domain was given.
    pub memory_bytes: usize,
    /// Version of Xen: major, minor.
    pub xen_version: (u16, u16),
}

/// Makes a part of `memory` the heap; what is left of it.
///
/// # Safety
/// `memory` begins at a page, is mapped writable and used by nothing else for the rest of the program.
pub(super) unsafe fn open_heap(memory: Range<usize>) -> Result<Range<usize>, XenError> {
    let bytes = (memory.len() / 8 * HEAP_EIGHTHS).next_multiple_of(PAGE_BYTES);
    let end = memory.start + bytes;
    // SAFETY: the caller's contract.
    if unsafe { heap::open(memory.start..end) } { Ok(end..memory.end) } else { Err(XenError(-12)) }
}

/// Takes the pages of `memory` that exist into a pool.
///
/// # Safety
/// What exists of `memory` is mapped writable and used by nothing else for the rest of the program.
pub(super) unsafe fn collect_pages(memory: &[Range<usize>], frames: Frames) -> PagePool {
    let mut pool = PagePool::with_capacity(memory.iter().map(|range| range.len() / PAGE_BYTES).sum());
    for address in memory.iter().flat_map(|range| range.clone().step_by(PAGE_BYTES)) {
        if let (true, Some(start)) = (frames.exists(address), NonNull::new(address as *mut _)) {
            // SAFETY: the caller's contract; each page is taken once.
            pool.add(unsafe { Page::from_raw(start) });
        }
    }
    pool
}

/// The page at `address`, which somebody else may read and write.
///
/// # Safety
/// The page is mapped for good and reached only this way.
pub(super) unsafe fn shared_page(address: usize) -> Result<SharedPage, XenError> {
    let start = NonNull::new(address as *mut _).ok_or(XenError(-14))?;
    // SAFETY: the caller's contract.
    Ok(unsafe { SharedPage::from_raw(start) })
}

/// Where the grant table is in a window.
pub(super) fn grant_window(window: usize) -> impl Iterator<Item = usize> {
    (window + PAGE_BYTES..).step_by(PAGE_BYTES).take(GRANT_FRAMES)
}

/// The addresses for pages of peers in a window.
pub(super) fn peer_window(window: usize) -> Vec<usize> {
    (window + (1 + GRANT_FRAMES) * PAGE_BYTES..).step_by(PAGE_BYTES).take(MAP_SLOTS).collect()
}

/// Version of Xen: major, minor.
pub(super) fn xen_version() -> (u16, u16) {
    // SAFETY: version takes no argument and gives major << 16 | minor.
    let version = unsafe { hypercall(__HYPERVISOR_xen_version, [0]) }.unwrap_or(0);
    ((version >> 16) as u16, version as u16)
}
