//! The keys that a flow is found by.

use core::net::Ipv4Addr;

use super::record::{Flow, FlowKind};
use crate::base::address::Address;
use crate::base::side::ClientSlot;
use crate::tables::multilinear::MultilinearKey;

/// From which address realm a flow is looked at (RFC 2663).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realm {
    /// As the near client sees the flow. The client is given by its number, as everywhere in the engine.
    Internal(ClientSlot),
    /// As the uplink sees it: every client is our one address.
    External,
}

/// What identifies a flow in one realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey<A = Ipv4Addr> {
    /// From where the flow is looked at.
    pub realm: Realm,
    /// IP protocol.
    pub protocol: u8,
    /// Port or query identifier of the client (internal realm) or of our address (external realm).
    pub port: u16,
    /// The far end's address.
    pub far: A,
    /// The far end's port; of an ICMP query what it asks for, as its type.
    pub far_port: u16,
}

impl<A: Address> FlowKey<A> {
    /// The key of `flow` as its client sees it.
    pub const fn internal(flow: &Flow<A>) -> FlowKey<A> {
        FlowKey {
            realm: Realm::Internal(flow.near),
            protocol: flow.protocol,
            port: flow.near_port,
            far: flow.far,
            far_port: flow.far_port,
        }
    }

    /// The key of `flow` as the uplink sees it, if it ever gets there.
    pub const fn external(flow: &Flow<A>) -> Option<FlowKey<A>> {
        match flow.kind {
            FlowKind::ClientToClient(_) => None,
            FlowKind::Outbound | FlowKind::PortForward => Some(FlowKey {
                realm: Realm::External,
                protocol: flow.protocol,
                port: flow.outer_port,
                far: flow.far,
                far_port: flow.far_port,
            }),
        }
    }

    /// Whether this is a key of `flow`.
    #[inline(always)]
    pub fn matches(&self, flow: &Flow<A>) -> bool {
        let is_between = matches!(flow.kind, FlowKind::ClientToClient(_));
        let is_here = match self.realm {
            Realm::Internal(near) => flow.near_port == self.port && flow.near == near,
            Realm::External => flow.outer_port == self.port && !is_between,
        };
        is_here && flow.far == self.far && flow.far_port == self.far_port && flow.protocol == self.protocol
    }

    /// A keyed hash: nobody without the key can aim at a bucket (conformance P-10, [`crate::tables::multilinear`]).
    #[inline(always)]
    pub fn hash(&self, key: &MultilinearKey) -> u32 {
        let (side, slot) = match self.realm {
            Realm::Internal(slot) => (0, slot.0),
            Realm::External => (1, 0),
        };
        let ports = u32::from(self.port) << 16 | u32::from(self.far_port);
        let rest = u32::from(self.protocol) | u32::from(slot) << 8 | side << 16;
        let far = self.far.number();
        if A::WIDTH > 32 {
            let [far_1, far_2, far_3] = [96, 64, 32].map(|shift| (far >> shift) as u32);
            key.hash([rest, ports, far as u32, far_1, far_2, far_3])
        } else {
            key.hash([rest, ports, far as u32])
        }
    }
}
