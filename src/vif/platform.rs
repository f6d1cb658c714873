//! What a device needs besides its own state to take a step.

use crate::base::time::Moment;
use crate::store::{Store, StoreRing};
use crate::vif::deferred::DeferredPages;
use crate::vif::event::EventSink;
use crate::vif::look_limit::LookLimit;
use crate::xen::Xen;

/// The hypervisor, XenStore, the time, and what all devices share.
pub struct Platform<'a, X: Xen, R: StoreRing> {
    /// The hypervisor.
    pub xen: &'a mut X,
    /// XenStore.
    pub store: &'a Store<R>,
    /// When this turn began.
    pub now: Moment,
    /// How often each client's nodes may be looked at.
    pub looks: &'a mut LookLimit,
    /// Pages that backends of the uplink have not let go yet.
    pub held: &'a mut DeferredPages,
    /// Where events are told.
    pub events: &'a mut dyn EventSink,
}
