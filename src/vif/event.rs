//! What happens to vifs, as it is told to whoever wants to know.

use super::connect::UnusableRings;
use super::device_id::DeviceId;
use super::{netback, netfront};
use crate::base::text::Excerpt;
use crate::guard::antispoof::Identity;
use crate::store::StoreError;
use crate::wire::ethernet::Mac;
use crate::xen::{DomainId, XenError};
use alloc::string::String;

/// Something happened to a vif.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VifEvent {
    /// To a client's.
    Client(DeviceId, ClientEvent),
    /// To ours on the uplink.
    Uplink(UplinkEvent),
    /// To all of them: XenStore's quota of nodes is used up, some of the toolstack's are removed.
    QuotaUsedUp,
}

/// Something happened to a client's vif.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The toolstack made it, with these addresses.
    Found(Identity),
    /// Something that the toolstack wrote of it is without effect, in words.
    NotSupported(String),
    /// There are this many already: it is not served.
    NotServed(usize),
    /// Its rings are in use.
    Connected,
    /// They are not any more.
    Disconnected,
    /// The device is gone for good.
    Gone,
    /// Its driver broke the protocol; it is disconnected.
    ProtocolBroken(netback::ClientBroken),
    /// What its driver announced is no good.
    CannotConnect(UnusableRings),
    /// XenStore refused something.
    Refused(StoreError),
}

/// Something happened to our vif on the uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UplinkEvent {
    /// The toolstack made this device; it is the uplink from now on.
    Found {
        /// Its number.
        device: u32,
        /// Our address there.
        mac: Mac,
    },
    /// The text of the device's `mtu` node, which is no MTU that can be used, and what is used instead, in bytes.
    MtuRefused(Excerpt, u16),
    /// Traffic may flow.
    Connected,
    /// It may not any more.
    Disconnected,
    /// The device is gone for good.
    Removed,
    /// Another device is there while one is in use.
    Unused(u32),
    /// A device that there is cannot be used.
    Unusable(u32, StoreError),
    /// The backend broke the protocol; it is disconnected.
    ProtocolBroken(netfront::UplinkBroken),
    /// The backend still holds so many pages of earlier connections: it gets no new rings.
    PagesHeld(usize),
    /// Rings for this backend could not be made.
    NoRings(DomainId, XenError),
    /// XenStore refused something.
    Refused(StoreError),
}

/// Whoever wants to know what happens.
pub trait EventSink {
    /// Something happened.
    fn emit(&mut self, event: VifEvent);
}
