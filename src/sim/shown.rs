//! What the uplink's backend has seen of the kernel's pages: whatever else it finds there is a leak.

use super::machine::{KERNEL, Machine, UPLINK};
use crate::sim::grants::Use;
use crate::xen::host::Frame;
use crate::xen::page::PAGE_BYTES;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::ops::Range;

/// Contents of pages when the backend last had access to them.
#[derive(Debug, Default)]
pub struct Shown(BTreeMap<Frame, Box<[u8; PAGE_BYTES]>>);

impl Machine {
    fn page(&self, frame: Frame) -> Box<[u8; PAGE_BYTES]> {
        let mut page = Box::new([0; PAGE_BYTES]);
        self.memory.read(frame, 0, &mut page[..]);
        page
    }

    /// The first byte of a page, outside `meant`, that the backend may not see: neither zero nor what it has seen
    /// there before.
    pub fn secret_in(&self, frame: Frame, meant: Range<usize>) -> Option<usize> {
        let (page, seen) = (self.page(frame), self.shown.0.get(&frame));
        let is_new = |at: usize, byte: u8| byte != 0 && seen.is_none_or(|seen| seen[at] != byte);
        page.iter().enumerate().position(|(at, &byte)| !meant.contains(&at) && is_new(at, byte))
    }

    /// As [`Self::secret_in`], for the page of a grant; `None` too when it is not in force.
    pub fn secret_behind(&self, reference: u32, meant: Range<usize>) -> Option<usize> {
        let frame = self.grant_page(UPLINK, KERNEL, reference, Use::Read).ok()?;
        self.secret_in(frame, meant)
    }

    /// The backend had access to a page until now.
    pub fn saw(&mut self, frame: Frame) {
        let page = self.page(frame);
        self.shown.0.insert(frame, page);
    }
}
