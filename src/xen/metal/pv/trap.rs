//! CPU exceptions of a PV guest, which Xen delivers.
//!
//! The stubs that bring every trap to one shape are in `boot/pv.s`. An exception while the stack itself
//! is bad (its guard page was hit) cannot be delivered: Xen then crashes the domain and says so in its log.

use crate::xen::XenError;
use crate::xen::metal::hypercall::hypercall;
use xen_sys::__HYPERVISOR_set_trap_table;

/// Has Xen deliver exceptions to our stubs.
pub fn install() -> Result<(), XenError> {
    unsafe extern "C" {
        /// In `boot/pv.s`; ends with an all-zero entry.
        static trap_table: u8;
    }
    // SAFETY: a table in the format of set_trap_table; every stub takes the frame that Xen pushes.
    unsafe { hypercall(__HYPERVISOR_set_trap_table, [&raw const trap_table as u64]) }.map(drop)
}
