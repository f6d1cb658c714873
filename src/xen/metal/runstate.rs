//! When Xen last gave us a processor: it writes that into our memory, and reading it traps nowhere.
//!
//! Reading the time-stamp counter does trap where Xen emulates it, as on hosts whose counter it cannot rely on
//! (`tsc_mode`, xl.cfg(5)).

use super::hypercall::hypercall;
use crate::base::time::Moment;
use crate::xen::abi::{RUNSTATE_ENTRY_TIME, RUNSTATE_WORDS, VCPUOP_REGISTER_RUNSTATE};
use core::sync::atomic::{AtomicU64, Ordering};
use xen_sys::__HYPERVISOR_vcpu_op;

/// `vcpu_runstate_info` of the only vCPU. Xen writes while the vCPU does not run, so what we read is never half written.
static AREA: [AtomicU64; RUNSTATE_WORDS] = [const { AtomicU64::new(0) }; RUNSTATE_WORDS];

/// Has Xen keep the area up to date. Should it refuse, the area stays as it is, and the clock is asked instead.
pub fn register() {
    let mut area = AREA.as_ptr() as u64;
    let arguments = [VCPUOP_REGISTER_RUNSTATE, 0, core::ptr::from_mut(&mut area) as u64];
    // SAFETY: vCPU 0, and the structure that this command takes: the address of an area that is there for ever and that
    // we reach by atomic loads only.
    let _ = unsafe { hypercall(__HYPERVISOR_vcpu_op, arguments) };
}

/// When we began to run, the last time that we did; the same as long as we run on.
pub fn running_since() -> Moment {
    Moment::from_nanoseconds(AREA[RUNSTATE_ENTRY_TIME].load(Ordering::Acquire))
}
