//! The only home of unsafe code: Xen's memory, grants, events, clock and rings behind safe types.
//!
//! Everything above reaches the hypervisor through the trait [`Xen`]. Its body for real hardware is
//! `metal` (kernel target only); whatever is not a hypercall or a page table is ordinary code here and is
//! tested on the host.
#![allow(unsafe_code)]

pub mod abi;
pub mod bounce;
pub mod build_id;
pub mod charge;
pub mod clock;
pub mod console;
pub mod copy;
pub mod cpuid;
pub mod descriptor;
pub mod event;
pub mod grant;
#[cfg(feature = "sim")]
pub mod host;
pub mod hvm_start_info;
pub mod memory_map;
#[cfg(target_os = "none")]
pub mod metal;
#[cfg(feature = "sim")]
pub mod meter;
pub mod page;
pub mod page_pool;
pub mod store_ring;
#[cfg(feature = "sim")]
pub mod touch;

use crate::base::time::{Moment, UnixSeconds};
use copy::CopyBatch;
use core::ops::Range;
use event::{Port, RemotePort};
use grant::{Access, GrantedPage, Gref};
use page::{Page, SharedPage};
use page_pool::PagePool;

/// A domain's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub u16);

/// A machine frame number: the physical page that Xen knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameNumber(pub u64);

/// A hypercall's negative return value (`-EINVAL`, …) or grant status (`GNTST_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XenError(pub i64);

impl core::fmt::Display for XenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Xen error {}", self.0)
    }
}

/// Why a domain ends (`SHUTDOWN_*` of `sched.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Asked to power off.
    PowerOff,
    /// Asked to start again.
    Reboot,
    /// Something that must not happen happened.
    Crash,
}

/// What a domain holds of others and lends to them now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Grants in force.
    pub grants: usize,
    /// Pages of others that are mapped.
    pub mappings: usize,
    /// Event channels that were allocated or bound and not closed.
    pub ports: usize,
}

/// A page of another domain, mapped into our address space.
///
/// Whoever has the value may touch the page; [`Xen::unmap`] takes the value away, so what is unmapped cannot be
/// touched any more. This compiles:
///
/// ```
/// use ravelin::xen::{MappedPage, Xen, XenError};
///
/// fn read_and_unmap(xen: &mut impl Xen, page: MappedPage) -> Result<u32, XenError> {
///     let word = page.shared().load(0);
///     xen.unmap(page)?;
///     Ok(word)
/// }
/// ```
///
/// and the other way round it does not (E0382, use of a moved value):
///
/// ```compile_fail,E0382
/// use ravelin::xen::{MappedPage, Xen, XenError};
///
/// fn unmap_and_read(xen: &mut impl Xen, page: MappedPage) -> Result<u32, XenError> {
///     xen.unmap(page)?;
///     let word = page.shared().load(0);
///     Ok(word)
/// }
/// ```
///
/// Nor can a reference into the page outlive the mapping (E0505, moved while borrowed):
///
/// ```compile_fail,E0505
/// use ravelin::xen::{MappedPage, Xen, XenError};
///
/// fn unmap_under_a_reference(xen: &mut impl Xen, page: MappedPage) -> Result<u32, XenError> {
///     let shared = page.shared();
///     xen.unmap(page)?;
///     Ok(shared.load(0))
/// }
/// ```
#[derive(Debug)]
#[must_use = "a mapping that is dropped keeps the peer's page mapped: unmap it"]
pub struct MappedPage {
    page: SharedPage,
    handle: u32,
}

impl MappedPage {
    /// The bytes, which the peer may be reading or writing.
    pub fn shared(&self) -> &SharedPage {
        &self.page
    }

    /// Names a mapping that the hypervisor made.
    ///
    /// # Safety
    /// `page` stays mapped until the mapping is given to [`Xen::unmap`].
    pub unsafe fn new(page: SharedPage, handle: u32) -> Self {
        Self { page, handle }
    }

    /// What the hypervisor calls this mapping.
    pub fn handle(&self) -> u32 {
        self.handle
    }
}

/// The hypervisor, as everything above this module sees it.
pub trait Xen {
    /// Xen system time. Where Xen emulates the time-stamp counter, asking traps, which costs as much as a copy.
    fn now(&self) -> Moment;

    /// The wall clock at `now`.
    fn unix_time(&self, now: Moment) -> UnixSeconds;

    /// 32 bytes nobody can predict; `None` when the machine has no source of them.
    fn entropy(&mut self) -> Option<[u8; 32]>;

    /// Hypercalls since boot, for the report.
    fn hypercalls(&self) -> u64;

    /// The domain's free pages.
    fn pages(&mut self) -> &mut PagePool;

    /// Lends a page to another domain, which finds in it the bytes `shown` and nothing else that it has not
    /// seen before (XSA-403). The page back when no reference is free.
    fn grant(
        &mut self,
        domain: DomainId,
        page: Page,
        access: Access,
        shown: Range<usize>,
    ) -> Result<GrantedPage, Page>;

    /// Ends a grant; gives it back when the peer still uses the page.
    fn end_grant(&mut self, granted: GrantedPage) -> Result<Page, GrantedPage>;

    /// Maps a page that `domain` granted to us, readable and writable.
    fn map(&mut self, domain: DomainId, reference: Gref) -> Result<MappedPage, XenError>;

    /// Unmaps such a page.
    fn unmap(&mut self, mapping: MappedPage) -> Result<(), XenError>;

    /// Runs every waiting copy in one hypercall; each has its own result.
    fn copy(&mut self, batch: &mut CopyBatch);

    /// A new event channel that `domain` may bind to.
    fn allocate_port(&mut self, domain: DomainId) -> Result<Port, XenError>;

    /// Binds to an event channel that `domain` allocated for us.
    fn bind_port(&mut self, domain: DomainId, remote: RemotePort) -> Result<Port, XenError>;

    /// Closes an event channel.
    fn close_port(&mut self, port: Port);

    /// Notes that the other end is to be notified: by the next [`Self::send_notices`] or [`Self::wait`], or before
    /// when many wait. One hypercall notifies all.
    fn notify(&mut self, port: Port);

    /// Notifies everybody of whom that was noted. Call it before anything that takes long.
    fn send_notices(&mut self);

    /// Whether `port` was notified since the last call; clears it. Call it before looking at the ring
    /// it stands for: a port that is pending already wakes nobody again.
    fn take_pending(&mut self, port: Port) -> bool;

    /// Sends the notices, and sleeps until one of `ports` is pending or `until` comes; not at all when one is pending
    /// already. Says when it woke.
    fn wait(&mut self, ports: &[Port], until: Option<Moment>) -> Moment;

    /// What is held and lent now.
    fn holdings(&self) -> Holdings;

    /// Ends the domain. Comes back only in a simulation.
    fn shutdown(&mut self, reason: Shutdown);
}
