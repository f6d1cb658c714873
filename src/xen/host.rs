//! Simulation only: the memory of a simulated machine, in pages on the host's heap.
//!
//! A frame may have several names: the [`Page`] of the kernel that owns it, the [`SharedPage`] it becomes
//! when granted, and the frame number through which the simulated hypervisor and the peers reach it. One
//! thread runs them all, so no two of them touch a byte at the same time.

use super::MappedPage;
use super::page::{PAGE_BYTES, Page, SharedPage};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};

/// A frame of the simulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostFrame(pub u32);

std::thread_local! {
    /// Memory of machines that are gone, by their size in pages. It is never given back to the host: a
    /// [`Page`] is valid for the rest of the program.
    static USED: RefCell<Vec<(NonNull<u8>, usize)>> = const { RefCell::new(Vec::new()) };
}

/// All frames of a simulated machine.
#[derive(Debug)]
pub struct HostMemory {
    start: NonNull<u8>,
    given: Vec<bool>,
}

impl HostMemory {
    /// Memory of `pages` frames, all zero. Memory of a machine that was dropped is used again: drop whatever
    /// held its pages first.
    pub fn new(pages: usize) -> Self {
        let found = USED.with(|used| {
            let mut used = used.borrow_mut();
            let place = used.iter().position(|(_, size)| *size == pages)?;
            Some(used.swap_remove(place).0)
        });
        let start = match found {
            Some(start) => {
                // SAFETY: a whole region of that size, whose users are gone.
                unsafe { start.write_bytes(0, pages * PAGE_BYTES) };
                start
            }
            None => {
                let layout = Layout::from_size_align(pages.max(1) * PAGE_BYTES, PAGE_BYTES);
                let layout = layout.expect("fewer pages than the address space has");
                // SAFETY: the layout has a size.
                let start = unsafe { alloc_zeroed(layout) };
                NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
            }
        };
        Self { start, given: vec![false; pages] }
    }

    /// Number of frames.
    pub fn frames(&self) -> u32 {
        self.given.len() as u32
    }

    fn at(&self, frame: HostFrame) -> Option<NonNull<[u8; PAGE_BYTES]>> {
        if frame.0 >= self.frames() {
            return None;
        }
        // SAFETY: within the region.
        Some(unsafe { self.start.add(frame.0 as usize * PAGE_BYTES) }.cast())
    }

    /// Makes a frame a domain's own page; once only.
    pub fn give(&mut self, frame: HostFrame) -> Option<Page> {
        let start = self.at(frame)?;
        let given = self.given.get_mut(frame.0 as usize)?;
        if core::mem::replace(given, true) {
            return None;
        }
        // SAFETY: aligned, never unmapped, and given to nobody else; peers reach it by frame number only
        // when it is granted, and then it is no Page any more.
        Some(unsafe { Page::from_raw(start) })
    }

    /// A shared view of a frame.
    pub fn shared(&self, frame: HostFrame) -> Option<SharedPage> {
        // SAFETY: aligned and never unmapped; whoever else names it does so as SharedPage or by number.
        self.at(frame).map(|start| unsafe { SharedPage::from_raw(start) })
    }

    /// A frame mapped into the kernel.
    pub fn map(&self, frame: HostFrame, handle: u32) -> Option<MappedPage> {
        // SAFETY: the region is never unmapped.
        self.shared(frame).map(|page| unsafe { MappedPage::new(page, handle) })
    }

    /// The frame that an address lies in.
    pub fn frame_at(&self, address: usize) -> Option<HostFrame> {
        let distance = address.checked_sub(self.start.as_ptr().addr())? / PAGE_BYTES;
        (distance < self.given.len()).then_some(HostFrame(distance as u32))
    }

    fn place(&self, frame: HostFrame, offset: usize, bytes: usize) -> NonNull<u8> {
        let start = self.at(frame).expect("a frame of this machine");
        assert!(offset <= PAGE_BYTES && bytes <= PAGE_BYTES - offset, "beyond the page: {offset}+{bytes}");
        // SAFETY: within the page.
        unsafe { start.cast::<u8>().add(offset) }
    }

    /// Reads bytes of a frame.
    ///
    /// # Panics
    /// If there is no such frame, or the bytes reach beyond it; so do the other accesses.
    pub fn read(&self, frame: HostFrame, offset: usize, into: &mut [u8]) {
        let from = self.place(frame, offset, into.len());
        // SAFETY: that many bytes are there, and nobody else runs now.
        unsafe { from.as_ptr().copy_to(into.as_mut_ptr(), into.len()) };
    }

    /// Writes bytes of a frame.
    pub fn write(&self, frame: HostFrame, offset: usize, bytes: &[u8]) {
        let to = self.place(frame, offset, bytes.len());
        // SAFETY: that much room is there, and nobody else runs now.
        unsafe { to.as_ptr().copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// Fills bytes of a frame.
    pub fn fill(&self, frame: HostFrame, offset: usize, bytes: usize, value: u8) {
        // SAFETY: as for `write`.
        unsafe { self.place(frame, offset, bytes).write_bytes(value, bytes) };
    }

    /// Copies bytes from frame to frame.
    pub fn copy(&self, from: (HostFrame, usize), to: (HostFrame, usize), bytes: usize) {
        let source = self.place(from.0, from.1, bytes);
        let dest = self.place(to.0, to.1, bytes);
        // SAFETY: both are that long; `copy_to` allows them to overlap; nobody else runs now.
        unsafe { source.as_ptr().copy_to(dest.as_ptr(), bytes) };
    }

    /// A little-endian word of a frame.
    pub fn word(&self, frame: HostFrame, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(frame, offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Writes a little-endian word of a frame.
    pub fn set_word(&self, frame: HostFrame, offset: usize, value: u32) {
        self.write(frame, offset, &value.to_le_bytes());
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        USED.with(|used| used.borrow_mut().push((self.start, self.given.len())));
    }
}
