//! What the uplink's backend has seen of the kernel's pages: whatever else it finds there is a leak.

use crate::xen::bounce::BOUNCE_BYTES;
use crate::xen::host::{HostFrame, HostMemory};
use crate::xen::page::PAGE_BYTES;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Range;

/// What the backend has seen.
#[derive(Debug, Default)]
pub struct Exposure {
    /// Contents of pages when it last had access to them.
    seen: BTreeMap<HostFrame, Box<[u8; PAGE_BYTES]>>,
    /// Pages that stay granted to it, and in which one small packet after another is shown.
    standing: BTreeSet<HostFrame>,
}

impl Exposure {
    /// The first byte of a page, outside `meant`, that the backend may not see: neither zero nor what it has seen
    /// there before. Of a page in which small packets are shown, only the packet's own place is looked at.
    pub fn secret_in(&self, memory: &HostMemory, frame: HostFrame, meant: Range<usize>) -> Option<usize> {
        let whole = if self.standing.contains(&frame) { place(&meant) } else { 0..PAGE_BYTES };
        let end = meant.end.min(whole.end);
        let before = self.new_in(memory, frame, whole.start..meant.start.min(end));
        before.or_else(|| self.new_in(memory, frame, end..whole.end))
    }

    /// The first byte within a range of a page that is neither zero nor what the backend has seen there before.
    fn new_in(&self, memory: &HostMemory, frame: HostFrame, range: Range<usize>) -> Option<usize> {
        const NOTHING: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
        let (page, seen) = (page(memory, frame), self.seen.get(&frame).map_or(&NOTHING, |seen| seen));
        let (now, before) = (&page[range.clone()], &seen[range.clone()]);
        // Most pages are as they were: comparing them whole is quick.
        if now == before {
            return None;
        }
        let mut pairs = now.iter().zip(before);
        pairs.position(|(&now, &before)| now != 0 && now != before).map(|at| range.start + at)
    }

    /// The backend had access to a page until now.
    pub fn saw(&mut self, memory: &HostMemory, frame: HostFrame) {
        self.standing.remove(&frame);
        self.see(memory, frame, 0..PAGE_BYTES);
    }

    /// A page is granted for reading, all of it. If there is nothing in it, it is one that stays granted, for small packets.
    pub fn is_granted_whole(&mut self, memory: &HostMemory, frame: HostFrame) {
        if page(memory, frame).iter().all(|byte| *byte == 0) {
            self.standing.insert(frame);
        }
    }

    /// The backend has taken a packet from a page. Where small packets are shown, it has seen what is in this place.
    pub fn took(&mut self, memory: &HostMemory, frame: HostFrame, packet: Range<usize>) {
        if self.standing.contains(&frame) {
            self.see(memory, frame, place(&packet));
        }
    }

    /// Something that the backend may see in a page for small packets, and that was never sent.
    pub fn stray(&self, memory: &HostMemory) -> Option<(HostFrame, usize)> {
        self.standing.iter().find_map(|&frame| Some((frame, self.new_in(memory, frame, 0..PAGE_BYTES)?)))
    }

    fn see(&mut self, memory: &HostMemory, frame: HostFrame, range: Range<usize>) {
        let seen = self.seen.entry(frame).or_insert_with(|| Box::new([0; PAGE_BYTES]));
        seen[range.clone()].copy_from_slice(&page(memory, frame)[range]);
    }
}

/// The place for a small packet that a packet lies in.
fn place(packet: &Range<usize>) -> Range<usize> {
    let start = (packet.start - packet.start % BOUNCE_BYTES).min(PAGE_BYTES - BOUNCE_BYTES);
    start..start + BOUNCE_BYTES
}

fn page(memory: &HostMemory, frame: HostFrame) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    memory.read(frame, 0, &mut page);
    page
}
