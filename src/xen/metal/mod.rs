//! The real hypervisor: [`Xen`] by hypercalls. What depends on the kind of guest is in `pv` and `pvh`.

mod boot;
mod crash;
mod entropy;
mod frames;
mod heap;
mod hypercall;
mod image;
mod instruction;
mod logger;
mod page_entry;
mod peer_window;
mod pv;
mod pvh;
mod runstate;
mod store_link;

pub use boot::Boot;
pub use crash::panic;
pub use image::build_id;
pub use store_link::StoreLink;

use super::abi::{
    DOMID_SELF, GNTMAP_HOST_MAP, GNTTABOP_COPY, GNTTABOP_MAP, GNTTABOP_UNMAP, GrantMap, GrantUnmap, Multicall,
};
use super::copy::CopyBatch;
use super::event::{self, NOTICES, Notifications, Port, RemotePort};
use super::grant::{Access, GrantTable, GrantedPage, Gref};
use super::page::{Page, SharedPage};
use super::page_pool::PagePool;
use super::{DomainId, FrameNumber, Holdings, MappedPage, Shutdown, Xen, XenError, clock};
use crate::base::time::{Moment, UnixSeconds};
use arrayvec::ArrayVec;
use core::arch::x86_64::_rdtsc;
use core::ops::Range;
use core::ptr::NonNull;
use core::time::Duration;
use frames::Frames;
use hypercall::{entry, grant_operations, hypercall, operation, together};
use peer_window::PeerWindow;
use spin::Once;
use xen_sys::{
    __HYPERVISOR_event_channel_op, __HYPERVISOR_sched_op, EVTCHNOP_alloc_unbound, EVTCHNOP_bind_interdomain,
    EVTCHNOP_close, EVTCHNOP_send, SCHEDOP_poll, SCHEDOP_shutdown, SCHEDOP_yield, SHUTDOWN_crash,
    SHUTDOWN_poweroff, SHUTDOWN_reboot, evtchn_alloc_unbound, evtchn_bind_interdomain, evtchn_close,
    sched_poll, sched_shutdown,
};

/// Most ports that one SCHEDOP_poll takes.
const POLL_PORTS: usize = 128;

/// With more ports than that, one beyond the list that becomes pending just before the call is not seen by
/// it: look again this soon.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The page that Xen shares with the domain: clock, wall clock, event bits.
static SHARED_INFO: Once<SharedPage> = Once::new();

fn shared_info() -> Option<&'static SharedPage> {
    SHARED_INFO.get()
}

fn clock_now() -> Moment {
    // SAFETY: every x86-64 CPU has a time-stamp counter.
    shared_info().map_or(Moment::default(), |page| clock::system_time(page, || unsafe { _rdtsc() }))
}

fn yield_now() {
    // SAFETY: takes no argument.
    let _ = unsafe { hypercall(__HYPERVISOR_sched_op, [u64::from(SCHEDOP_yield)]) };
}

/// What SCHEDOP_poll takes to sleep until one of `ports` is pending or `until` comes. It points to the ports.
fn sleep(ports: &[Port], until: Option<Moment>) -> sched_poll {
    sched_poll {
        ports: ports.as_ptr().cast_mut().cast(),
        nr_ports: ports.len().min(POLL_PORTS) as u32,
        // Zero means no timeout.
        timeout: until.map_or(0, |until| until.as_nanoseconds().max(1)),
    }
}

/// Notifies the other ends of `ports`, and then sleeps if `sleep` says how: in one hypercall.
fn notify_and_sleep(ports: &[Port], sleep: Option<sched_poll>) {
    // A port is what EVTCHNOP_send takes.
    let sends = ports.iter().map(|port| entry(__HYPERVISOR_event_channel_op, EVTCHNOP_send, port));
    let polls = sleep.iter().map(|poll| entry(__HYPERVISOR_sched_op, SCHEDOP_poll, poll));
    // Filled in place: collected, all its room would be copied.
    let mut calls: ArrayVec<Multicall, { NOTICES + 1 }> = ArrayVec::new();
    calls.extend(sends.take(NOTICES).chain(polls));
    // A notification fails when the other end is gone; whoever watches its state tears the device down. Only a list
    // of ports that is too long is refused, and none is.
    // SAFETY: what these commands take; it outlives the call.
    unsafe { together(&mut calls) };
}

/// How Xen runs the domain (`type=` of xl.cfg).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Guest {
    /// Paravirtualised: Xen checks our page tables and delivers our exceptions.
    Pv = 0,
    /// By the CPU's virtualisation, without an emulated machine.
    Pvh = 1,
}

/// Brings the platform up. A failure ends the domain: without memory or console there is no way to go on.
///
/// # Safety
/// Called once, first thing, by the entry code for this kind of guest, with the address of the start info that Xen
/// passed to it.
pub unsafe fn boot(guest: Guest, start_info: usize) -> Boot {
    // SAFETY: the caller's contract.
    unsafe {
        match guest {
            Guest::Pv => pv::boot(start_info),
            Guest::Pvh => pvh::boot(start_info),
        }
    }
}

/// Ends the domain.
pub fn shutdown(reason: Shutdown) -> ! {
    let reason = match reason {
        Shutdown::PowerOff => SHUTDOWN_poweroff,
        Shutdown::Reboot => SHUTDOWN_reboot,
        Shutdown::Crash => SHUTDOWN_crash,
    };
    loop {
        // SAFETY: the structure that this command takes.
        let _ = unsafe { operation(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &mut sched_shutdown { reason }) };
    }
}

/// The hypervisor below us.
pub struct Metal {
    frames: Frames,
    grants: GrantTable,
    pages: PagePool,
    window: PeerWindow,
    /// Pages of peers that are mapped.
    mappings: usize,
    /// Event channels in use.
    ports: usize,
    notifications: Notifications,
}

impl Metal {
    /// A hypervisor that maps pages of peers in `window`.
    fn new(frames: Frames, grants: GrantTable, pages: PagePool, window: PeerWindow) -> Self {
        Self { frames, grants, pages, window, mappings: 0, ports: 0, notifications: Notifications::default() }
    }
}

impl Xen for Metal {
    fn now(&self) -> Moment {
        clock_now()
    }

    fn unix_time(&self, now: Moment) -> UnixSeconds {
        shared_info().map_or(UnixSeconds::default(), |page| clock::unix_time(page, now))
    }

    fn entropy(&mut self) -> Option<[u8; 32]> {
        entropy::bytes()
    }

    fn hypercalls(&self) -> u64 {
        hypercall::calls()
    }

    fn pages(&mut self) -> &mut PagePool {
        &mut self.pages
    }

    fn grant(
        &mut self,
        domain: DomainId,
        page: Page,
        access: Access,
        shown: Range<usize>,
    ) -> Result<GrantedPage, Page> {
        match self.frames.frame(page.address()) {
            Some(frame) => self.grants.grant(domain, page, frame, access, shown),
            None => Err(page),
        }
    }

    fn end_grant(&mut self, granted: GrantedPage) -> Result<Page, GrantedPage> {
        self.grants.end(granted)
    }

    fn map(&mut self, domain: DomainId, reference: Gref) -> Result<MappedPage, XenError> {
        let address = self.window.take()?;
        let mut map = GrantMap {
            host_address: address as u64,
            flags: GNTMAP_HOST_MAP,
            reference: reference.0,
            domain: domain.0,
            status: -1,
            ..GrantMap::default()
        };
        // SAFETY: one operation of that structure; the address is reserved for mappings and not in use.
        let called = unsafe { grant_operations(GNTTABOP_MAP, core::slice::from_mut(&mut map)) };
        let result = called.and(if map.status == 0 { Ok(()) } else { Err(XenError(map.status.into())) });
        match (result, NonNull::new(address as *mut _)) {
            (Ok(()), Some(start)) => {
                self.mappings += 1;
                // SAFETY: Xen mapped the peer's page there, and it stays until `unmap` takes the mapping.
                unsafe {
                    self.window.show(address);
                    Ok(MappedPage::new(SharedPage::from_raw(start), map.handle))
                }
            }
            (result, _) => {
                self.window.give(address);
                Err(result.err().unwrap_or(XenError(-1)))
            }
        }
    }

    fn unmap(&mut self, mapping: MappedPage) -> Result<(), XenError> {
        let address = mapping.shared().address();
        let mut unmap =
            GrantUnmap { host_address: address as u64, handle: mapping.handle(), status: -1, bus_address: 0 };
        self.window.hide(address);
        // SAFETY: one operation of that structure; the mapping is ours and ends here.
        unsafe { grant_operations(GNTTABOP_UNMAP, core::slice::from_mut(&mut unmap))? };
        if unmap.status != 0 {
            // The address stays in use: mapping there again would fail.
            return Err(XenError(unmap.status.into()));
        }
        self.window.give(address);
        self.mappings = self.mappings.saturating_sub(1);
        Ok(())
    }

    fn copy(&mut self, batch: &mut CopyBatch) {
        let frames = self.frames;
        batch.run(|copies| {
            if copies.is_empty() {
                return;
            }
            for copy in copies.iter_mut() {
                let side = copy.local_mut();
                // A frame that does not exist makes Xen refuse this one copy.
                let frame = frames.frame(side.reference as usize).unwrap_or(FrameNumber(u64::MAX));
                side.reference = frame.0;
            }
            // SAFETY: an array of that many operations. Local frames are of pages lent to the batch, which
            // nothing else touches until it ran. If the call fails, the statuses still say so.
            let _ = unsafe { grant_operations(GNTTABOP_COPY, copies) };
        });
    }

    fn allocate_port(&mut self, domain: DomainId) -> Result<Port, XenError> {
        let mut allocate = evtchn_alloc_unbound { dom: DOMID_SELF, remote_dom: domain.0, port: 0 };
        // SAFETY: the structure that this command takes.
        unsafe { operation(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &mut allocate)? };
        self.ports += 1;
        Ok(Port(allocate.port))
    }

    fn bind_port(&mut self, domain: DomainId, remote: RemotePort) -> Result<Port, XenError> {
        let mut bind = evtchn_bind_interdomain { remote_dom: domain.0, remote_port: remote.0, local_port: 0 };
        // SAFETY: the structure that this command takes.
        unsafe { operation(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, &mut bind)? };
        self.ports += 1;
        Ok(Port(bind.local_port))
    }

    fn close_port(&mut self, port: Port) {
        self.send_notices();
        let mut close = evtchn_close { port: port.0 };
        // SAFETY: the structure that this command takes. Closing a port of ours does not fail.
        let _ = unsafe { operation(__HYPERVISOR_event_channel_op, EVTCHNOP_close, &mut close) };
        self.ports = self.ports.saturating_sub(1);
        // The number may be given out again: it must not start as pending.
        self.take_pending(port);
    }

    fn notify(&mut self, port: Port) {
        if self.notifications.is_full() {
            self.send_notices();
        }
        self.notifications.add(port);
    }

    fn send_notices(&mut self) {
        notify_and_sleep(self.notifications.ports(), None);
        self.notifications.clear();
    }

    fn take_pending(&mut self, port: Port) -> bool {
        shared_info().is_some_and(|page| event::take_pending(page, port))
    }

    fn wait(&mut self, ports: &[Port], until: Option<Moment>) -> Moment {
        let soon = (ports.len() > POLL_PORTS).then(|| self.now() + LOOK_AGAIN);
        let until = until.into_iter().chain(soon).min();
        let ran_since = runstate::running_since();
        notify_and_sleep(self.notifications.ports(), Some(sleep(ports, until)));
        self.notifications.clear();
        let running_since = runstate::running_since();
        if running_since == ran_since { self.now() } else { running_since }
    }

    fn holdings(&self) -> Holdings {
        Holdings { grants: self.grants.in_force(), mappings: self.mappings, ports: self.ports }
    }

    fn shutdown(&mut self, reason: Shutdown) {
        shutdown(reason)
    }
}
