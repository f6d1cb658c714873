//! Entries of the CPU's page tables, on every level (Intel's manual, volume 3, section 4.5).

use super::image::Permission;
use crate::xen::page::PAGE_BYTES;

pub const PRESENT: u64 = 1;
pub const WRITABLE: u64 = 1 << 1;
pub const USER: u64 = 1 << 2;
pub const ACCESSED: u64 = 1 << 5;
pub const DIRTY: u64 = 1 << 6;
/// In a second-level entry: it maps 2 MiB.
pub const LARGE: u64 = 1 << 7;
pub const NO_EXECUTE: u64 = 1 << 63;

/// Where in an entry the address is of the page or the lower table.
pub const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;

/// Addresses covered by one last-level table, or one large page.
pub const TABLE_SPAN: usize = 512 * PAGE_BYTES;

/// What a last-level entry says of a page that may be used so.
pub const fn flags(permission: Permission) -> u64 {
    match permission {
        Permission::Execute => PRESENT | ACCESSED,
        Permission::Read => PRESENT | ACCESSED | NO_EXECUTE,
        Permission::Write => PRESENT | WRITABLE | ACCESSED | DIRTY | NO_EXECUTE,
    }
}
