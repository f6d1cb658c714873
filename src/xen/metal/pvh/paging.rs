//! Page tables of a PVH guest, which are its own: virtual address = physical address, with the least permissions that
//! work, and nothing mapped that does not exist.

use crate::xen::metal::image::{Image, Permission};
use crate::xen::metal::page_entry::{ACCESSED, ADDRESS_MASK, LARGE, PRESENT, TABLE_SPAN, WRITABLE, flags};
use crate::xen::page::PAGE_BYTES;
use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

/// An entry that leads to a lower table: the last level says what is permitted.
const TABLE: u64 = PRESENT | WRITABLE | ACCESSED;

/// The tables.
pub struct PageTables {
    /// Address of the top-level one.
    pub top: usize,
}

/// Memory for tables, taken from the start; none of it is used for anything else. It has less than 2 MiB, so that pages of
/// 4 KiB are enough to say of each what may be done with it.
pub struct TableMemory(Range<usize>);

impl TableMemory {
    /// # Safety
    /// `memory` is mapped writable where it is, and used by nothing else from its start on as far as tables are taken.
    pub unsafe fn new(memory: Range<usize>) -> Self {
        Self(memory.start..memory.end.min(memory.start.saturating_add(TABLE_SPAN)))
    }

    /// First address that no table has.
    pub fn next(&self) -> usize {
        self.0.start
    }

    /// An empty table.
    fn take(&mut self) -> Option<usize> {
        let table = self.0.start;
        self.0.start = Some(table + PAGE_BYTES).filter(|next| *next <= self.0.end)?;
        (0..512).for_each(|index| entry(table, index).store(0, Ordering::Relaxed));
        Some(table)
    }
}

impl PageTables {
    /// First address that they cannot map where it is: half of what four levels of tables have is negative.
    pub const REACH: usize = 1 << 47;

    /// Tables that map `memory`, which has the image in it; `None` when there is too little for them.
    pub fn new(image: &Image, memory: Range<usize>, tables: &mut TableMemory) -> Option<Self> {
        let small_end = image.end.max(tables.0.end);
        let mut space = Self { top: tables.take()? };
        let mut address = memory.start;
        while address < memory.end {
            let is_large = address >= small_end
                && address.is_multiple_of(TABLE_SPAN)
                && memory.end - address >= TABLE_SPAN;
            if is_large {
                let (directory, index) = space.second_level(address, tables)?;
                let value = address as u64 | LARGE | flags(Permission::Write);
                entry(directory, index).store(value, Ordering::Relaxed);
                address += TABLE_SPAN;
            } else {
                if let Some(permission) = image.permission(address) {
                    space.map(address, permission, tables)?;
                }
                address += PAGE_BYTES;
            }
        }
        Some(space)
    }

    /// Maps a page that is outside what was mapped before.
    pub fn map(&mut self, address: usize, permission: Permission, tables: &mut TableMemory) -> Option<()> {
        let value = address as u64 | flags(permission);
        self.last_level(address, tables)?.store(value, Ordering::Relaxed);
        Some(())
    }

    /// Makes what tables `pages` need from `start` on, with nothing mapped.
    pub fn reserve(&mut self, start: usize, pages: usize, tables: &mut TableMemory) -> Option<()> {
        (start..).step_by(PAGE_BYTES).take(pages).try_for_each(|page| self.last_level(page, tables).map(drop))
    }

    /// Takes the permission to write away from the tables themselves, but for those that the `pages` from `start` on are
    /// entered in.
    pub fn seal(&self, all: Range<usize>, start: usize, pages: usize) -> Option<()> {
        for table in all.step_by(PAGE_BYTES) {
            self.walk(table)?.store(table as u64 | flags(Permission::Read), Ordering::Relaxed);
        }
        for page in (start..).step_by(PAGE_BYTES).take(pages) {
            let table = self.last_table(page)?;
            self.walk(table)?.store(table as u64 | flags(Permission::Write), Ordering::Relaxed);
        }
        Some(())
    }

    /// Has the CPU use these tables.
    ///
    /// # Safety
    /// They map whatever is in use, with permissions that suffice.
    pub unsafe fn activate(&self) {
        // SAFETY: the caller's contract.
        unsafe { asm!("mov cr3, {}", in(reg) self.top, options(nostack, preserves_flags)) };
    }

    /// Maps the page at a reserved address, readable and writable.
    ///
    /// # Safety
    /// There is a page at that physical address, and whoever is given the address reaches it as shared.
    pub unsafe fn show(&self, address: usize) {
        if let Some(entry) = self.walk(address) {
            // Nothing was mapped there, and what is not mapped is not cached.
            entry.store(address as u64 | flags(Permission::Write), Ordering::Relaxed);
            // No access to the page is moved before this.
            compiler_fence(Ordering::SeqCst);
        }
    }

    /// Unmaps the page at a reserved address.
    pub fn hide(&self, address: usize) {
        if let Some(entry) = self.walk(address) {
            // No access to the page is moved behind this.
            compiler_fence(Ordering::SeqCst);
            entry.store(0, Ordering::Relaxed);
            // SAFETY: forgets a translation, which costs time at most.
            unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
        }
    }

    /// The last-level entry of `address`; tables are made when missing.
    fn last_level(&mut self, address: usize, tables: &mut TableMemory) -> Option<&'static AtomicU64> {
        let (directory, index) = self.second_level(address, tables)?;
        Some(entry(lower(directory, index, tables)?, index_in(address, 1)))
    }

    /// The second-level table for `address` and the index in it; tables above are made when missing.
    fn second_level(&mut self, address: usize, tables: &mut TableMemory) -> Option<(usize, usize)> {
        let table = [4, 3]
            .into_iter()
            .try_fold(self.top, |table, level| lower(table, index_in(address, level), tables))?;
        Some((table, index_in(address, 2)))
    }

    /// The last-level entry of `address`, if it has one.
    fn walk(&self, address: usize) -> Option<&'static AtomicU64> {
        Some(entry(self.last_table(address)?, index_in(address, 1)))
    }

    /// The last-level table of `address`, if it has one.
    fn last_table(&self, address: usize) -> Option<usize> {
        [4, 3, 2].into_iter().try_fold(self.top, |table, level| follow(table, index_in(address, level)))
    }
}

fn index_in(address: usize, level: usize) -> usize {
    (address >> (12 + 9 * (level - 1))) & 511
}

/// The lower table that entry `index` leads to.
fn follow(table: usize, index: usize) -> Option<usize> {
    let value = entry(table, index).load(Ordering::Relaxed);
    (value & (PRESENT | LARGE) == PRESENT).then_some((value & ADDRESS_MASK) as usize)
}

/// The same, made when missing.
fn lower(table: usize, index: usize, tables: &mut TableMemory) -> Option<usize> {
    if let Some(lower) = follow(table, index) {
        return Some(lower);
    }
    let lower = tables.take()?;
    entry(table, index).store(lower as u64 | TABLE, Ordering::Relaxed);
    Some(lower)
}

/// An entry of a table. The CPU reads it, and marks it as used, at any time.
fn entry(table: usize, index: usize) -> &'static AtomicU64 {
    // SAFETY: `table` was taken from `TableMemory`, is mapped for good and reached only here, and `index` is masked.
    unsafe { AtomicU64::from_ptr((table as *mut u64).add(index & 511)) }
}
