//! Pages that a PVH guest has of Xen and of the toolstack: the shared info page, frames of the grant table, the rings of
//! console and XenStore.

use super::cpu;
use crate::xen::XenError;
use crate::xen::abi::{
    AddToPhysmap, DOMID_SELF, HVMOP_GET_PARAM, HvmParam, XENMEM_ADD_TO_PHYSMAP, XENMEM_CURRENT_RESERVATION,
};
use crate::xen::event::Port;
use crate::xen::metal::hypercall::operation;
use crate::xen::page::PAGE_BYTES;
use xen_sys::{__HYPERVISOR_hvm_op, __HYPERVISOR_memory_op};

/// Has Xen fill in the wall clock and use the 64-bit layout of the shared info page, which it does when it is given a
/// page for hypercalls. That page is the first of our memory: nothing is mapped there, and nobody calls it.
///
/// # Safety
/// Xen's leaves begin at `base`, and nothing uses page zero.
pub unsafe fn announce(base: u32) {
    // SAFETY: Xen has this register; what it writes, it writes to page zero.
    unsafe { cpu::write_msr(cpu::hypercall_msr(base), 0) };
}

/// Pages that the domain has now, those of the toolstack among them.
pub fn current_reservation() -> Result<u64, XenError> {
    let mut domain = DOMID_SELF;
    // SAFETY: what this command takes: a domain's number.
    unsafe { operation(__HYPERVISOR_memory_op, XENMEM_CURRENT_RESERVATION, &mut domain) }
}

/// Has Xen put page `index` of `space` at a physical address.
///
/// # Safety
/// There was nothing at that address, or nothing that is in use.
pub unsafe fn add_to_physmap(space: u32, index: u64, address: usize) -> Result<(), XenError> {
    let frame = (address / PAGE_BYTES) as u64;
    let mut add = AddToPhysmap { domain: DOMID_SELF, size: 0, space, index, frame };
    // SAFETY: the structure that this command takes; the caller's contract.
    unsafe { operation(__HYPERVISOR_memory_op, XENMEM_ADD_TO_PHYSMAP, &mut add) }.map(drop)
}

/// A ring of the toolstack's.
pub struct ToolstackRing {
    /// Its physical address.
    pub address: usize,
    /// Its event channel.
    pub port: Port,
}

/// The ring that these two parameters are about.
pub fn ring(frame: u32, port: u32) -> Result<ToolstackRing, XenError> {
    let number = param(port)?;
    // 4096 event channels are all that the shared info page has.
    let port = u32::try_from(number).ok().filter(|port| (1..4096).contains(port)).ok_or(XenError(-22))?;
    let address = param(frame)?.checked_mul(PAGE_BYTES as u64).filter(|address| *address != 0);
    Ok(ToolstackRing { address: address.ok_or(XenError(-22))? as usize, port: Port(port) })
}

fn param(index: u32) -> Result<u64, XenError> {
    let mut param = HvmParam { domain: DOMID_SELF, index, value: 0 };
    // SAFETY: the structure that this command takes.
    unsafe { operation(__HYPERVISOR_hvm_op, HVMOP_GET_PARAM, &mut param)? };
    Ok(param.value)
}
