//! What a device needs besides its own state to take a step.

use crate::base::time::Moment;
use crate::store::{Store, StoreRing};
use crate::vif::attention::Attention;
use crate::vif::deferred::DeferredPages;
use crate::vif::device_id::DeviceId;
use crate::xen::Xen;
use core::fmt;
use log::Level;

/// The hypervisor, XenStore, the time, and what all devices share.
pub struct Platform<'a, X: Xen, R: StoreRing> {
    /// The hypervisor.
    pub xen: &'a mut X,
    /// XenStore.
    pub store: &'a Store<R>,
    /// When this turn began.
    pub now: Moment,
    /// How often each client's nodes may be read, and how much may be said about it.
    pub attention: &'a mut Attention,
    /// Pages that backends of the uplink have not let go yet.
    pub held: &'a mut DeferredPages,
}

impl<X: Xen, R: StoreRing> Platform<'_, X, R> {
    /// Says something about a device on the console, unless enough was said about its client.
    pub fn say(&mut self, level: Level, id: DeviceId, what: fmt::Arguments<'_>) {
        self.attention.say(level, id.domain, self.now, format_args!("{id}: {what}"));
    }
}
