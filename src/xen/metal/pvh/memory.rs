//! The memory of a PVH domain: how much of it may be touched, and what of that nothing uses yet.

use super::start_info::{BOOT_MAPPING, Start};
use super::xen_pages;
use crate::xen::XenError;
use crate::xen::memory_map::{Backing, MOST_PIECES, are_within, free_pieces, populated_end};
use crate::xen::metal::image::Image;
use crate::xen::page::PAGE_BYTES;
use arrayvec::ArrayVec;
use core::ops::Range;

/// Memory by what it is used for.
pub struct Memory {
    /// All that may be touched.
    pub all: Range<usize>,
    /// The largest piece that is free.
    pub largest: Range<usize>,
    /// The other free pieces.
    pub others: ArrayVec<Range<usize>, MOST_PIECES>,
}

impl Memory {
    /// Divides the memory around the image; `None` if nothing is free, or something is where no memory may be touched.
    pub fn of(start: &Start, image: &Image) -> Result<Option<Self>, XenError> {
        let pages = xen_pages::current_reservation()?;
        let others = start.map.pages(Backing::Other);
        let end = populated_end(&start.memory, start.map.pages(Backing::Ram), pages, others);
        Ok(Self::up_to(end, start, image))
    }

    fn up_to(end: u64, start: &Start, image: &Image) -> Option<Self> {
        let page_zero = 0..PAGE_BYTES as u64;
        let [info, map, modules, text, ramdisk] = start.used.clone();
        let memory = start.memory.start..end;
        let used = [image.range(), info, map, modules, text, ramdisk];
        if !are_within(&used, &memory) {
            return None;
        }
        let [image, info, map, modules, text, ramdisk] = used;
        let pieces = free_pieces(memory, &mut [page_zero, image, info, map, modules, text, ramdisk]);
        let mut pieces: ArrayVec<Range<usize>, MOST_PIECES> =
            pieces.into_iter().map(|piece| piece.start as usize..piece.end as usize).collect();
        let (index, _) = pieces.iter().enumerate().max_by_key(|(_, piece)| piece.len())?;
        let largest = pieces.swap_remove(index);
        Some(Self { all: start.memory.start as usize..end as usize, largest, others: pieces })
    }

    /// Where page tables can be made while the entry code's mapping is in force.
    pub fn tables(&self) -> Range<usize> {
        self.largest.start..self.largest.end.min(BOOT_MAPPING.end as usize)
    }
}
