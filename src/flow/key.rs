//! The names a flow is found by.

use core::net::Ipv4Addr;

use super::record::{Flow, Route};
use super::siphash::SipKey;
use crate::client::ClientSlot;

/// From which side a name is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// As the near client sees the flow.
    Inside(ClientSlot),
    /// As the uplink sees it: every client is our one address.
    Outside,
}

/// A flow's name on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The side.
    pub face: Face,
    /// IP protocol.
    pub protocol: u8,
    /// Port or query identifier of the client (inside) or of our address (outside).
    pub port: u16,
    /// The far end's address.
    pub far: Ipv4Addr,
    /// The far end's port; of an ICMP query what it asks for, as its type.
    pub far_port: u16,
}

impl Key {
    /// The name under which the near client knows `flow`.
    pub const fn inside(flow: &Flow) -> Key {
        Key {
            face: Face::Inside(flow.near),
            protocol: flow.protocol,
            port: flow.near_port,
            far: flow.far,
            far_port: flow.far_port,
        }
    }

    /// The name under which the uplink knows `flow`, if it ever gets there.
    pub const fn outside(flow: &Flow) -> Option<Key> {
        match flow.route {
            Route::Between(_) => None,
            Route::Outward | Route::Forwarded => Some(Key {
                face: Face::Outside,
                protocol: flow.protocol,
                port: flow.outer_port,
                far: flow.far,
                far_port: flow.far_port,
            }),
        }
    }

    /// Whether `flow` is known by this name.
    #[inline(always)]
    pub fn names(&self, flow: &Flow) -> bool {
        match self.face {
            Face::Inside(_) => *self == Key::inside(flow),
            Face::Outside => Key::outside(flow) == Some(*self),
        }
    }

    /// A keyed hash of the name (SipHash-1-3): nobody without the key can aim at a bucket (conformance P-10).
    #[inline(always)]
    pub fn hash(&self, key: &SipKey) -> u64 {
        let (side, slot) = match self.face {
            Face::Inside(slot) => (0, slot.0),
            Face::Outside => (1, 0),
        };
        let first =
            u64::from(self.far.to_bits()) << 32 | u64::from(self.port) << 16 | u64::from(self.far_port);
        let rest = u64::from(self.protocol) | u64::from(slot) << 8 | side << 16;
        key.hash(first, rest, 3)
    }
}
