//! Which machine frame each page of ours is.

use crate::xen::FrameNumber;
use crate::xen::page::PAGE_BYTES;

/// The machine frame of every page of ours, by page number. A PV guest's list comes from Xen. A PVH guest's frames are
/// its page numbers; it has a list all the same, so that looking up costs neither of them a branch.
#[derive(Clone, Copy)]
pub struct Frames(&'static [u64]);

impl Frames {
    /// Takes a list by page number, with `u64::MAX` where there is no memory.
    pub fn new(list: &'static [u64]) -> Self {
        Self(list)
    }

    /// Bytes of memory, with whatever is missing in between.
    pub fn bytes(&self) -> usize {
        self.0.len() * PAGE_BYTES
    }

    /// The machine frame behind a virtual address of our memory.
    pub fn frame(&self, address: usize) -> Option<FrameNumber> {
        self.0.get(address / PAGE_BYTES).copied().map(FrameNumber)
    }

    /// Whether there is memory at a virtual address.
    pub fn exists(&self, address: usize) -> bool {
        self.frame(address).is_some_and(|frame| frame.0 != u64::MAX)
    }

    /// The virtual address of a machine frame of ours, such as the console ring's.
    pub fn address_of(&self, frame: FrameNumber) -> Option<usize> {
        self.0.iter().position(|&ours| ours == frame.0).map(|page| page * PAGE_BYTES)
    }
}
