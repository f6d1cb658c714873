//! What only a 64-bit PV guest has: start info, page tables that Xen checks, traps that Xen delivers. All else is the
//! same for every kind of guest.

mod boot;
mod paging;
mod trap;

pub(super) use boot::boot;
