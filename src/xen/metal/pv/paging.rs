//! Page tables of a 64-bit PV guest: all memory mapped, with the least permissions that work.
//!
//! Xen boots us with one contiguous mapping from address zero to somewhat beyond the boot structures
//! (virtual = pseudo-physical), writable and executable. Page tables are read-only to us; every change is
//! a hypercall that Xen checks. Facts: `xen/include/public/xen.h`, `tools/libs/guest/xg_dom_x86.c`.

use crate::xen::abi::DOMID_SELF;
use crate::xen::metal::frames::Frames;
use crate::xen::metal::hypercall::hypercall;
use crate::xen::metal::image::{Image, Permission};
use crate::xen::metal::page_entry::{
    ACCESSED, ADDRESS_MASK, DIRTY, PRESENT, TABLE_SPAN, USER, WRITABLE, flags,
};
use crate::xen::page::PAGE_BYTES;
use crate::xen::{FrameNumber, XenError};
use core::ops::Range;
use xen_sys::{
    __HYPERVISOR_mmu_update, __HYPERVISOR_mmuext_op, __HYPERVISOR_update_va_mapping, MMUEXT_TLB_FLUSH_LOCAL,
    mmu_update, mmuext_op, start_info,
};

/// An entry that leads to a lower table: Xen checks permissions in the last level.
const TABLE: u64 = PRESENT | WRITABLE | USER | ACCESSED | DIRTY;
const READ_WRITE: u64 = flags(Permission::Write);
const READ_ONLY: u64 = flags(Permission::Read);

/// Start of Xen's read-only machine-to-physical table in every 64-bit PV guest (`MACH2PHYS_VIRT_START`).
const MACHINE_TO_PHYSICAL: usize = 0xffff_8000_0000_0000;
/// `UVMF_INVLPG`: forget the cached translation of that address.
const INVALIDATE: u64 = 2;

/// The guest's address space.
pub struct AddressSpace {
    frames: Frames,
    /// Virtual address of the top-level table.
    top: usize,
    /// First page never used since boot; tables are made from here.
    unused: usize,
    /// First address above our memory that is not in use.
    window: usize,
}

impl AddressSpace {
    /// Maps all memory of the domain and takes away every permission that is not needed.
    ///
    /// # Safety
    /// Called once, at boot, with the start info that Xen passed.
    pub unsafe fn take_over(info: &'static start_info, image: &Image) -> Result<Self, XenError> {
        // SAFETY: the p2m list has nr_pages entries at mfn_list (start_info's contract), and is not changed.
        let frames =
            unsafe { core::slice::from_raw_parts(info.mfn_list as *const u64, info.nr_pages as usize) };
        let frames = Frames::new(frames);
        let tables = info.pt_base as usize..info.pt_base as usize + info.nr_pt_frames as usize * PAGE_BYTES;
        let memory_end = frames.bytes();
        let mut space = Self {
            frames,
            top: tables.start,
            // The boot stack's page follows the tables.
            unused: tables.end + PAGE_BYTES,
            // A table's span of unmapped addresses keeps an overrun of memory from the window.
            window: (memory_end + TABLE_SPAN).next_multiple_of(TABLE_SPAN),
        };
        let boot_end = space.tighten_boot_mapping(image, &tables)?;
        space.map_memory(boot_end..memory_end)?;
        space.flush_translations()?;
        Ok(space)
    }

    /// Memory that nothing uses: behind the tables, and below the image except page zero.
    pub fn free_memory(&self, image: &Image) -> [Range<usize>; 2] {
        [self.unused..self.frames.bytes(), PAGE_BYTES..image.text.start]
    }

    /// The machine frames of our memory.
    pub fn frames(&self) -> Frames {
        self.frames
    }

    /// Reserves `pages` addresses above our memory, with page tables but nothing mapped. Not given back.
    pub fn reserve_window(&mut self, pages: usize) -> Result<usize, XenError> {
        let start = self.window;
        self.window += pages * PAGE_BYTES;
        for address in (start..self.window).step_by(PAGE_BYTES) {
            self.last_level(address)?;
        }
        Ok(start)
    }

    /// Maps `frame`, which Xen shares with us, readable and writable at a reserved address.
    pub fn map_window(&mut self, address: usize, frame: FrameNumber) -> Result<(), XenError> {
        update_va_mapping(address, frame.0 << 12 | READ_WRITE)
    }

    /// Sets the permissions of everything that Xen mapped for us; the first address not mapped.
    fn tighten_boot_mapping(&self, image: &Image, tables: &Range<usize>) -> Result<usize, XenError> {
        let mut address = 0;
        while let Some(table) = self.walk(address, 1) {
            let mut updates = Updates::default();
            for index in 0..512 {
                if entry(table, index) & PRESENT == 0 {
                    continue;
                }
                let page = address + index * PAGE_BYTES;
                let permission = match image.permission(page) {
                    Some(Permission::Write) if tables.contains(&page) => Some(Permission::Read),
                    permission => permission,
                };
                let frame = entry(table, index) & ADDRESS_MASK;
                let value = permission.map_or(0, |permission| frame | flags(permission));
                updates.push(self.entry_address(table, index)?, value)?;
            }
            updates.flush()?;
            address += TABLE_SPAN;
        }
        Ok(address)
    }

    /// Maps `range` of our memory, which Xen left out of the boot mapping, table by table.
    fn map_memory(&mut self, range: Range<usize>) -> Result<(), XenError> {
        for start in range.clone().step_by(TABLE_SPAN) {
            let (parent, index) = self.second_level(start)?;
            let table = self.take_table_page();
            for entry in 0..512 {
                let page = start + entry * PAGE_BYTES;
                let frame = if page < range.end { self.frames.frame(page) } else { None };
                // u64::MAX marks a page number without memory behind it.
                let value =
                    frame.filter(|frame| frame.0 != u64::MAX).map_or(0, |frame| frame.0 << 12 | READ_WRITE);
                write_entry(table, entry, value);
            }
            self.hook(parent, index, table)?;
        }
        Ok(())
    }

    /// The last-level table for `address`, made when missing.
    fn last_level(&mut self, address: usize) -> Result<usize, XenError> {
        if let Some(table) = self.walk(address, 1) {
            return Ok(table);
        }
        let (parent, index) = self.second_level(address)?;
        self.make_table(parent, index)
    }

    /// The second-level table for `address` and the index in it; tables above are made when missing.
    fn second_level(&mut self, address: usize) -> Result<(usize, usize), XenError> {
        let mut table = self.top;
        for level in [4, 3] {
            let index = index_in(address, level);
            table = match follow(table, index) {
                Some(lower) => lower,
                None => self.make_table(table, index)?,
            };
        }
        Ok((table, index_in(address, 2)))
    }

    /// The table of `level` (1 is the last) that translates `address`, if it exists.
    fn walk(&self, address: usize, level: usize) -> Option<usize> {
        (level + 1..=4).rev().try_fold(self.top, |table, level| follow(table, index_in(address, level)))
    }

    /// Makes an empty table below entry `index` of `parent`.
    fn make_table(&mut self, parent: usize, index: usize) -> Result<usize, XenError> {
        let table = self.take_table_page();
        for index in 0..512 {
            write_entry(table, index, 0);
        }
        self.hook(parent, index, table)?;
        Ok(table)
    }

    /// A fresh page, still writable. Boot leaves at least 512 KiB mapped behind the tables, and each table
    /// that is hooked in maps 2 MiB more, so the page is always mapped.
    fn take_table_page(&mut self) -> usize {
        let page = self.unused;
        self.unused += PAGE_BYTES;
        page
    }

    /// Makes the page `table` read-only, as Xen wants of a page table, and puts it below `parent`.
    fn hook(&self, parent: usize, index: usize, table: usize) -> Result<(), XenError> {
        let frame = self.frames.frame(table).ok_or(XenError(0))?.0 << 12;
        update_va_mapping(table, frame | READ_ONLY)?;
        let mut updates = Updates::default();
        updates.push(self.entry_address(parent, index)?, frame | TABLE)?;
        updates.flush()
    }

    /// Machine address of a table's entry.
    fn entry_address(&self, table: usize, index: usize) -> Result<u64, XenError> {
        Ok((self.frames.frame(table).ok_or(XenError(0))?.0 << 12) + index as u64 * 8)
    }

    fn flush_translations(&self) -> Result<(), XenError> {
        // SAFETY: all-zero is a valid value of this plain structure.
        let mut flush: mmuext_op = unsafe { core::mem::zeroed() };
        flush.cmd = MMUEXT_TLB_FLUSH_LOCAL;
        // SAFETY: one operation, no result count wanted.
        unsafe {
            hypercall(
                __HYPERVISOR_mmuext_op,
                [core::ptr::from_mut(&mut flush) as u64, 1, 0, u64::from(DOMID_SELF)],
            )?;
        }
        Ok(())
    }
}

/// Page-table updates gathered into hypercalls.
#[derive(Default)]
struct Updates {
    waiting: arrayvec::ArrayVec<mmu_update, 64>,
}

impl Updates {
    fn push(&mut self, address: u64, value: u64) -> Result<(), XenError> {
        if self.waiting.is_full() {
            self.flush()?;
        }
        self.waiting.push(mmu_update { ptr: address, val: value });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), XenError> {
        let arguments =
            [self.waiting.as_mut_ptr() as u64, self.waiting.len() as u64, 0, u64::from(DOMID_SELF)];
        // SAFETY: an array of that many requests; Xen refuses whatever would break its own rules, and the
        // callers only tighten permissions or map pages that nothing uses yet.
        unsafe { hypercall(__HYPERVISOR_mmu_update, arguments)? };
        self.waiting.clear();
        Ok(())
    }
}

/// Replaces the last-level entry of `address`.
fn update_va_mapping(address: usize, value: u64) -> Result<(), XenError> {
    // SAFETY: callers pass reserved addresses or pages that become tables: no reference to them is alive.
    unsafe { hypercall(__HYPERVISOR_update_va_mapping, [address as u64, value, INVALIDATE])? };
    Ok(())
}

fn index_in(address: usize, level: usize) -> usize {
    (address >> (12 + 9 * (level - 1))) & 511
}

/// The lower table that entry `index` leads to.
fn follow(table: usize, index: usize) -> Option<usize> {
    let entry = entry(table, index);
    if entry & PRESENT == 0 {
        return None;
    }
    let frame = (entry & ADDRESS_MASK) >> 12;
    // SAFETY: Xen maps this table for every frame of the machine; the frame comes from our own page tables.
    let page = unsafe { *((MACHINE_TO_PHYSICAL as *const u64).add(frame as usize)) };
    Some(page as usize * PAGE_BYTES)
}

fn entry(table: usize, index: usize) -> u64 {
    // SAFETY: `table` is a mapped page table and `index` below 512; Xen may change entries, hence volatile.
    unsafe { (table as *const u64).add(index).read_volatile() }
}

fn write_entry(table: usize, index: usize, value: u64) {
    // SAFETY: `table` is a fresh, writable page that nothing refers to, and `index` is below 512.
    unsafe { (table as *mut u64).add(index).write_volatile(value) }
}
