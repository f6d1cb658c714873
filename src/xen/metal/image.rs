//! Where the parts of the kernel's image lie, which each get permissions of their own.

use crate::xen::build_id::BuildId;
use crate::xen::page::PAGE_BYTES;
use core::ops::Range;

unsafe extern "C" {
    static image_text: u8;
    static image_rodata: u8;
    static build_id_note: u8;
    static build_id_note_end: u8;
    static image_data: u8;
    static stack_guard: u8;
    static image_end: u8;
}

/// What may be done with a page of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Reading and executing.
    Execute,
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// Addresses of the image's parts.
pub struct Image {
    /// Code.
    pub text: Range<usize>,
    /// Constants.
    pub rodata: Range<usize>,
    /// The page below the stack.
    pub stack_guard: usize,
    /// First address behind it.
    pub end: usize,
}

/// What the linker calls this image by.
pub fn build_id() -> Option<BuildId> {
    let (start, end) = (&raw const build_id_note, &raw const build_id_note_end);
    // SAFETY: `linker.ld` puts the note between the two, into what is only ever read.
    BuildId::from_note(unsafe { core::slice::from_raw_parts(start, end.addr() - start.addr()) })
}

impl Image {
    /// The parts as `linker.ld` laid them out.
    pub fn linked() -> Self {
        let address = |symbol: *const u8| symbol.addr();
        Self {
            text: address(&raw const image_text)..address(&raw const image_rodata),
            rodata: address(&raw const image_rodata)..address(&raw const image_data),
            stack_guard: address(&raw const stack_guard),
            end: address(&raw const image_end),
        }
    }

    /// All of it.
    pub fn range(&self) -> Range<u64> {
        self.text.start as u64..self.end as u64
    }

    /// What may be done with the page at `address` of our memory; nothing with page zero, so that null pointers fault,
    /// and with the page below the stack.
    pub fn permission(&self, address: usize) -> Option<Permission> {
        if address == 0 || address == self.stack_guard {
            None
        } else if self.text.contains(&address) {
            Some(Permission::Execute)
        } else if self.rodata.contains(&address) {
            Some(Permission::Read)
        } else {
            Some(Permission::Write)
        }
    }

    /// Whether an address is in the page below the stack.
    pub fn is_guard(&self, address: u64) -> bool {
        address / PAGE_BYTES as u64 == (self.stack_guard / PAGE_BYTES) as u64
    }
}
