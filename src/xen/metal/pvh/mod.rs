//! What only a PVH guest has: start info with a memory map, page tables and descriptors of its own, rings and grant
//! frames that it asks Xen for. All else is the same for every kind of guest.

mod boot;
mod cpu;
pub(super) mod debug_port;
mod descriptors;
mod memory;
mod paging;
mod start_info;
mod xen_pages;

pub(super) use boot::boot;
pub(super) use paging::PageTables;
