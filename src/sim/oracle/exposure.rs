//! What the uplink's backend has seen of the kernel's pages: whatever else it finds there is a leak.

use crate::sim::machine::grants::GrantUse;
use crate::sim::machine::{KERNEL, Machine, UPLINK};
use crate::xen::host::HostFrame;
use crate::xen::page::PAGE_BYTES;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::ops::Range;

/// Contents of pages when the backend last had access to them.
#[derive(Debug, Default)]
pub struct Exposure(BTreeMap<HostFrame, Box<[u8; PAGE_BYTES]>>);

impl Machine {
    fn page(&self, frame: HostFrame) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        self.memory.read(frame, 0, &mut page);
        page
    }

    /// The first byte of a page, outside `meant`, that the backend may not see: neither zero nor what it has seen
    /// there before.
    pub fn secret_in(&self, frame: HostFrame, meant: Range<usize>) -> Option<usize> {
        const NOTHING: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
        let (page, seen) = (self.page(frame), self.exposure.0.get(&frame).map_or(&NOTHING, |seen| seen));
        let secret = |range: Range<usize>| {
            let (now, before) = (&page[range.clone()], &seen[range.clone()]);
            // Most pages are as they were: comparing them whole is quick.
            if now == before {
                return None;
            }
            let mut pairs = now.iter().zip(before);
            pairs.position(|(&now, &before)| now != 0 && now != before).map(|at| range.start + at)
        };
        let end = meant.end.min(PAGE_BYTES);
        secret(0..meant.start.min(end)).or_else(|| secret(end..PAGE_BYTES))
    }

    /// As [`Self::secret_in`], for the page of a grant; `None` too when it is not in force.
    pub fn secret_behind(&self, reference: u32, meant: Range<usize>) -> Option<usize> {
        let frame = self.grant_page(UPLINK, KERNEL, reference, GrantUse::Read).ok()?;
        self.secret_in(frame, meant)
    }

    /// The backend had access to a page until now.
    pub fn saw(&mut self, frame: HostFrame) {
        let page = self.page(frame);
        match self.exposure.0.get_mut(&frame) {
            Some(seen) => **seen = page,
            None => drop(self.exposure.0.insert(frame, Box::new(page))),
        }
    }
}
