//! What the uplink's backend has seen of the kernel's pages: whatever else it finds there is a leak.

use crate::xen::host::{HostFrame, HostMemory};
use crate::xen::page::PAGE_BYTES;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::ops::Range;

/// Contents of pages when the backend last had access to them.
#[derive(Debug, Default)]
pub struct Exposure(BTreeMap<HostFrame, Box<[u8; PAGE_BYTES]>>);

impl Exposure {
    /// The first byte of a page, outside `meant`, that the backend may not see: neither zero nor what it has seen
    /// there before.
    pub fn secret_in(&self, memory: &HostMemory, frame: HostFrame, meant: Range<usize>) -> Option<usize> {
        const NOTHING: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
        let (page, seen) = (page(memory, frame), self.0.get(&frame).map_or(&NOTHING, |seen| seen));
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

    /// The backend had access to a page until now.
    pub fn saw(&mut self, memory: &HostMemory, frame: HostFrame) {
        let page = page(memory, frame);
        match self.0.get_mut(&frame) {
            Some(seen) => **seen = page,
            None => drop(self.0.insert(frame, Box::new(page))),
        }
    }
}

fn page(memory: &HostMemory, frame: HostFrame) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    memory.read(frame, 0, &mut page);
    page
}
