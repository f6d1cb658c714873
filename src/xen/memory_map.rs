//! The memory map of a PVH domain: where there is memory, and where there is nothing.
//!
//! A physical address with nothing behind it reads as ones and swallows what is written, without a fault. So
//! nothing is mapped but what the map has, and pages that Xen puts into our address space go where it has nothing.

use super::hvm_start_info::{long, word};
use super::page::PAGE_BYTES;
use crate::base::sort::sort_few_by_key;
use arrayvec::ArrayVec;
use core::fmt;
use core::ops::Range;

/// Most entries of a map.
const MOST_ENTRIES: usize = 128;

/// Most pieces that memory in use leaves of what is around it.
pub const MOST_PIECES: usize = 16;

/// Bytes of a large page. Memory is populated in pieces of this size, so holes are looked for at multiples of it, and
/// at this distance from memory.
const LARGE_PAGE: u64 = 512 * PAGE_BYTES as u64;

/// From here on there may be APICs, of which the map says nothing.
const APICS: u64 = 0xfec0_0000;

/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const RAM: u32 = 1;

/// What is behind a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Memory of ours.
    Ram,
    /// Something else: pages that the toolstack shares with us, tables of ACPI.
    Other,
}

/// `struct hvm_memmap_table_entry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Addresses, never empty.
    pub range: Range<u64>,
    /// What is there.
    pub backing: Backing,
}

impl MapEntry {
    /// Bytes of an entry.
    pub const BYTES: usize = 24;

    fn parse(bytes: &[u8]) -> Result<Self, MemoryMapMistake> {
        let (start, length) = (long(bytes, 0), long(bytes, 8));
        let end = start.checked_add(length).filter(|end| *end > start);
        let range = start..end.ok_or(MemoryMapMistake::Entry(start, length))?;
        Ok(Self { range, backing: if word(bytes, 16) == RAM { Backing::Ram } else { Backing::Other } })
    }
}

/// The map, by ascending addresses. No two entries overlap.
#[derive(Debug)]
pub struct MemoryMap(ArrayVec<MapEntry, MOST_ENTRIES>);

impl MemoryMap {
    /// Reads the entries, which come in any order.
    pub fn parse(bytes: &[u8]) -> Result<Self, MemoryMapMistake> {
        let mut map = ArrayVec::new();
        for bytes in bytes.chunks_exact(MapEntry::BYTES) {
            map.try_push(MapEntry::parse(bytes)?).map_err(|_| MemoryMapMistake::TooMany)?;
        }
        sort_few_by_key(&mut map, |entry: &MapEntry| entry.range.start);
        for (one, next) in map.iter().zip(map.iter().skip(1)) {
            if one.range.end > next.range.start {
                return Err(MemoryMapMistake::Overlap(next.range.start));
            }
        }
        Ok(Self(map))
    }

    /// The memory that `range` lies in: whole pages.
    pub fn ram_around(&self, range: &Range<u64>) -> Result<Range<u64>, MemoryMapMistake> {
        let contains = |entry: &&MapEntry| {
            entry.backing == Backing::Ram
                && entry.range.start <= range.start
                && range.end <= entry.range.end
                && range.start <= range.end
        };
        let entry = self.0.iter().find(contains).ok_or(MemoryMapMistake::NotRam(range.start, range.end))?;
        let page = PAGE_BYTES as u64;
        Ok(entry.range.start.next_multiple_of(page)..entry.range.end / page * page)
    }

    /// Pages of everything that has this backing.
    pub fn pages(&self, backing: Backing) -> u64 {
        let entries = self.0.iter().filter(|entry| entry.backing == backing);
        entries.map(|entry| (entry.range.end - entry.range.start).div_ceil(PAGE_BYTES as u64)).sum()
    }

    /// The first address at `start` or above from which `bytes` have nothing behind them.
    pub fn hole(&self, start: u64, bytes: u64) -> Option<u64> {
        let mut at = start.checked_add(LARGE_PAGE)?.checked_next_multiple_of(LARGE_PAGE)?;
        for entry in &self.0 {
            let hole_end = at.checked_add(bytes)?.checked_add(LARGE_PAGE)?;
            if entry.range.start < hole_end && at < entry.range.end {
                at = entry.range.end.checked_add(LARGE_PAGE)?.checked_next_multiple_of(LARGE_PAGE)?;
            }
        }
        Some(at).filter(|at| *at <= APICS.saturating_sub(bytes))
    }
}

/// First address behind what may be touched of `ram`. A map has `ram_pages` and others; Xen has given the domain
/// `reservation` pages for both.
///
/// With `memory` below `maxmem` the map has `maxmem`, and Xen puts a page behind an address when it is touched, or 2 MiB
/// of them, until it has none left; then it destroys the domain.
pub fn populated_end(ram: &Range<u64>, ram_pages: u64, reservation: u64, other_pages: u64) -> u64 {
    if reservation >= ram_pages {
        return ram.end;
    }
    let populated = reservation.saturating_sub(other_pages).saturating_mul(PAGE_BYTES as u64);
    let end = ram.start.saturating_add(populated) / LARGE_PAGE * LARGE_PAGE;
    end.clamp(ram.start, ram.end)
}

/// Whether all that is used lies in `ram`, outside of which nothing is mapped. Empty ranges do not count.
pub fn are_within(used: &[Range<u64>], ram: &Range<u64>) -> bool {
    used.iter().filter(|used| !used.is_empty()).all(|used| ram.start <= used.start && used.end <= ram.end)
}

/// What `used` leaves of `ram`, in whole pages, in ascending order; nothing if that is too many pieces.
pub fn free_pieces(ram: Range<u64>, used: &mut [Range<u64>]) -> ArrayVec<Range<u64>, MOST_PIECES> {
    let page = PAGE_BYTES as u64;
    sort_few_by_key(used, |range| range.start);
    let mut pieces = ArrayVec::new();
    let mut start = ram.start;
    for end in used.iter().map(Some).chain([None]) {
        let next = end.map_or(ram.end, |used| used.start.clamp(ram.start, ram.end) / page * page);
        if start < next && pieces.try_push(start..next).is_err() {
            return ArrayVec::new();
        }
        if let Some(used) = end {
            start = start.max(used.end.min(ram.end).next_multiple_of(page));
        }
    }
    pieces
}

/// What is wrong with the memory map, or what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryMapMistake {
    /// An entry of this start and length is empty, or ends beyond all addresses.
    Entry(u64, u64),
    /// Two entries are about this address.
    Overlap(u64),
    /// There are more entries than are taken for sensible.
    TooMany,
    /// What should be in memory, from the first address up to the second, is not.
    NotRam(u64, u64),
}

impl fmt::Display for MemoryMapMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(start, length) => {
                write!(f, "memory map: {length:#x} bytes at {start:#x} make no sense")
            }
            Self::Overlap(address) => write!(f, "memory map: two entries are about {address:#x}"),
            Self::TooMany => write!(f, "memory map: more than {MOST_ENTRIES} entries"),
            Self::NotRam(start, end) => {
                write!(f, "memory map: {start:#x} to {end:#x} should be memory and is not")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn map(entries: &[(u64, u64, u32)]) -> Result<MemoryMap, MemoryMapMistake> {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|(start, length, kind)| {
                let tail = u64::from(*kind);
                [*start, *length, tail].into_iter().flat_map(u64::to_le_bytes)
            })
            .collect();
        MemoryMap::parse(&bytes)
    }

    /// What libxl 4.17 gives a domain of 32 MB.
    fn libxls() -> MemoryMap {
        map(&[
            (0, 0x200_0000, 1),
            (0xfc00_0000, 0x1000, 3),
            (0xfeff_8000, 0x8000, 2),
            (0xfc00_1000, 0x7000, 3),
            (0xfc00_8000, 0x40, 3),
        ])
        .unwrap()
    }

    #[test]
    fn memory_around_the_image_is_one_entry() {
        assert_eq!(libxls().ram_around(&(0x10_0000..0x18_0000)), Ok(0..0x200_0000));
        assert_eq!(libxls().pages(Backing::Ram), 0x2000);
        assert_eq!(libxls().pages(Backing::Other), 8 + 8 + 1);
    }

    #[test]
    fn what_lies_outside_memory_is_named() {
        for range in [0x1f0_0000..0x200_0001, 0xfc00_0000..0xfc00_0010, 0x500_0000..0x500_0001, 1..u64::MAX] {
            let mistake = MemoryMapMistake::NotRam(range.start, range.end);
            assert_eq!(libxls().ram_around(&range), Err(mistake));
        }
        #[expect(clippy::reversed_empty_ranges, reason = "what a wrong length makes")]
        let backwards = 0x20_0000..0x10_0000;
        let mistake = libxls().ram_around(&backwards).unwrap_err();
        assert_eq!(mistake.to_string(), "memory map: 0x200000 to 0x100000 should be memory and is not");
    }

    #[test]
    fn memory_is_counted_in_whole_pages() {
        let map = map(&[(0x800, 0x100_0000, 1)]).unwrap();
        assert_eq!(map.ram_around(&(0x10_0000..0x18_0000)), Ok(0x1000..0x100_0000));
    }

    #[test]
    fn entries_that_make_no_sense_are_refused() {
        assert_eq!(map(&[(0x1000, 0, 1)]).unwrap_err(), MemoryMapMistake::Entry(0x1000, 0));
        assert_eq!(map(&[(u64::MAX, u64::MAX, 1)]).unwrap_err(), MemoryMapMistake::Entry(u64::MAX, u64::MAX));
        let overlap = map(&[(0x10_0000, 0x1000, 2), (0, 0x10_0001, 1)]);
        assert_eq!(overlap.unwrap_err(), MemoryMapMistake::Overlap(0x10_0000));
        let many: Vec<_> = (0..129).map(|n| (n * 0x1000, 0x1000, 1)).collect();
        assert_eq!(map(&many).unwrap_err(), MemoryMapMistake::TooMany);
        assert!(map(&many[..128]).is_ok());
    }

    #[test]
    fn hole_is_apart_from_everything() {
        assert_eq!(libxls().hole(0x200_0000, 0x10_5000), Some(0x220_0000));
        assert_eq!(libxls().hole(0x1f0_0000, 0x10_5000), Some(0x220_0000));
        // Between memory and the tables of ACPI there is not enough room.
        let full = map(&[(0, 0xfbc0_0000, 1), (0xfc00_0000, 0x1000, 3), (0xfeff_8000, 0x8000, 2)]).unwrap();
        assert_eq!(full.hole(0xfbc0_0000, 0x10_5000), Some(0xfc40_0000));
        // Behind the toolstack's pages there would be, but so are the APICs.
        assert_eq!(full.hole(0xfbc0_0000, 0x400_0000), None);
        assert_eq!(full.hole(u64::MAX - 5, 1), None);
        let last = map(&[(0x1000, u64::MAX - 0x1000, 1)]).unwrap();
        assert_eq!(last.hole(0, 1), None);
    }

    #[test]
    fn what_is_used_is_in_the_memory_around_the_image_or_the_domain_does_not_start() {
        let ram = 0x10_0000..0x200_0000;
        assert!(are_within(&[0x10_0000..0x18_0000, 0x1ff_f000..0x200_0000], &ram));
        // A command line in other memory, below; one at the end of what is populated.
        assert!(!are_within(&[0x10_0000..0x18_0000, 0x9_0000..0x9_0010], &ram));
        assert!(!are_within(&[0..0, 0x1ff_f000..0x200_0001], &ram));
        // No ramdisk, no modules.
        assert!(are_within(&[0..0, 0x9_0000..0x9_0000], &ram));
    }

    #[test]
    fn memory_that_xen_has_none_for_is_not_touched() {
        let ram = 0..0x400_0000;
        // maxmem=64; memory=64, 32, and so little that nothing is left.
        assert_eq!(populated_end(&ram, 0x4000, 0x4000 + 17, 17), 0x400_0000);
        assert_eq!(populated_end(&ram, 0x4000, 0x4000, 17), 0x400_0000);
        assert_eq!(populated_end(&ram, 0x4000, 0x2000 + 17, 17), 0x200_0000);
        assert_eq!(populated_end(&ram, 0x4000, 0x2000 + 16, 17), 0x1e0_0000);
        assert_eq!(populated_end(&ram, 0x4000, 5, 17), 0);
    }

    /// [`free_pieces`], by first addresses and ends.
    fn pieces(ram: (u64, u64), used: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut used: Vec<_> = used.iter().map(|(start, end)| *start..*end).collect();
        free_pieces(ram.0..ram.1, &mut used).into_iter().map(|piece| (piece.start, piece.end)).collect()
    }

    #[test]
    fn free_memory_is_what_is_left() {
        let used = [
            (0x11_3000, 0x11_3400),
            (0, 0x1000),
            (0x10_0000, 0x11_1004),
            (0x11_2000, 0x11_2010),
            (0x11_3380, 0x11_3fff),
        ];
        assert_eq!(pieces((0, 0x200_0000), &used), [(0x1000, 0x10_0000), (0x11_4000, 0x200_0000)]);
        assert_eq!(pieces((0x1000, 0x3000), &[]), [(0x1000, 0x3000)]);
        assert_eq!(pieces((0x1000, 0x3000), &[(0, 0x9000)]), []);
        assert_eq!(pieces((0x1000, 0x3000), &[(0x5000, 0x9000)]), [(0x1000, 0x3000)]);
        // What is used within what is used does not end it.
        assert_eq!(pieces((0, 0x8000), &[(0, 0x5000), (0x1000, 0x2000)]), [(0x5000, 0x8000)]);
    }

    #[test]
    fn too_many_pieces_are_none() {
        let used: Vec<_> = (1..17).map(|n| (n * 0x2000, n * 0x2000 + 1)).collect();
        assert_eq!(pieces((0, 0x10_0000), &used), []);
        assert_eq!(pieces((0, 0x10_0000), &used[1..]).len(), 16);
    }
}
