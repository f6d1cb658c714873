//! What only a 64-bit PV guest has: start info, page tables that Xen checks, traps that Xen delivers, the hypercall
//! instruction. All else is the same for every kind of guest.

mod boot;
mod hypercall;
mod paging;
mod trap;

pub use boot::boot;
pub(super) use hypercall::hypercall;
pub(super) use paging::AddressSpace;
