//! What is remembered of a flow.

use core::net::Ipv4Addr;

use super::end::End;
use super::tcp::{TcpStage, TcpTracker};
use crate::base::side::{ClientSlot, Side};
use crate::base::tick::Tick;
use crate::nat::mapping::Mapping;
use crate::tables::slab::Id;

/// Between which sides a flow runs, and who opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKind {
    /// A client opened it to the uplink; its source is translated.
    Outbound,
    /// Somebody on the uplink opened it to a port that is forwarded to the client.
    PortForward,
    /// The near client opened it to the client of this number; nothing is translated.
    ClientToClient(ClientSlot),
}

impl FlowKind {
    /// The end that opened the flow.
    pub const fn opener(self) -> End {
        match self {
            FlowKind::Outbound | FlowKind::ClientToClient(_) => End::Near,
            FlowKind::PortForward => End::Far,
        }
    }
}

/// How far a flow got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowStage {
    /// Not TCP; only its opener has sent, or it is an ICMP query.
    Unreplied,
    /// Not TCP; the other end has answered.
    Replied,
    /// Not TCP; after an answer its opener has sent again.
    Resumed,
    /// Not TCP; that was answered too: both ends go on, so this is more than one question and its answer.
    Assured,
    /// TCP.
    Tcp(TcpStage),
}

impl FlowStage {
    /// The stage after a packet that is not TCP: of the flow's opener or, if not, of its other end.
    #[must_use]
    #[inline(always)]
    pub const fn after(self, sender: End, opener: End) -> FlowStage {
        let from_opener = matches!((sender, opener), (End::Near, End::Near) | (End::Far, End::Far));
        match (self, from_opener) {
            (FlowStage::Unreplied, false) => FlowStage::Replied,
            (FlowStage::Replied, true) => FlowStage::Resumed,
            (FlowStage::Resumed, false) => FlowStage::Assured,
            (stage, _) => stage,
        }
    }

    /// Whether the flow may not be sacrificed for a newer one of the same client (conformance P-8).
    pub const fn is_assured(self) -> bool {
        match self {
            FlowStage::Unreplied | FlowStage::Replied | FlowStage::Resumed => false,
            FlowStage::Assured => true,
            FlowStage::Tcp(stage) => stage.is_assured(),
        }
    }
}

/// Counts changes of rules and clients; every flow says after which of them it was last judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u32);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Generation {
        Generation(self.0.wrapping_add(1))
    }

    /// If this generation is a multiple of 2²⁰, the multiple before it. The count wraps, so no two generations that are
    /// compared may be 2³¹ changes apart: from every multiple on a walk looks at all flows, and judges those that stay,
    /// so that at the next multiple no flow is older than the one before.
    pub const fn round_before(self) -> Option<Generation> {
        const ROUND: u32 = 1 << 20;
        if self.0.is_multiple_of(ROUND) { Some(Generation(self.0.wrapping_sub(ROUND))) } else { None }
    }

    /// The later of two.
    #[must_use]
    pub const fn max(self, other: Generation) -> Generation {
        if self.is_before(other) { other } else { self }
    }

    /// Whether this one is older.
    #[inline(always)]
    pub const fn is_before(self, other: Generation) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }
}

/// Which flow comes next in the hash bucket of each of a flow's keys: the table's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chained<A = Ipv4Addr> {
    pub(super) internal: Option<Id<Flow<A>>>,
    pub(super) external: Option<Id<Flow<A>>>,
}

impl<A> Default for Chained<A> {
    /// No flow comes next.
    fn default() -> Self {
        Chained { internal: None, external: None }
    }
}

/// A flow: two ends that exchange packets under one verdict.
///
/// All that a packet of it needs lies in one cache line: with a large table, fetching that is most of a packet's cost. A
/// flow of IPv6, with its longer address, takes two. Where no family is named it is IPv4, the one that is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Flow<A = Ipv4Addr> {
    /// The far end's address.
    pub far: A,
    /// The near end's port, or ICMP query identifier; zero without either.
    pub near_port: u16,
    /// The far end's port; of an ICMP query what it asks for, as its type; zero without.
    pub far_port: u16,
    /// The port or identifier the uplink side sees instead of `near_port`.
    pub outer_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// The near end: the client's number.
    pub near: ClientSlot,
    /// Between which sides it runs.
    pub kind: FlowKind,
    /// How far it got.
    pub stage: FlowStage,
    /// Seconds from when its opener last sent until it was last heard, at most 255: without TCP and while it is not
    /// assured. Else zero.
    pub unused: u8,
    /// The last second it may be silent in.
    pub deadline: Tick,
    /// Under which rules and clients it was last judged.
    pub judged: Generation,
    /// The mapping that `outer_port` is from, if it is from the pool.
    pub mapping: Option<Id<Mapping>>,
    /// What comes after it in the hash bucket of each of its keys.
    pub chained: Chained<A>,
    /// TCP only.
    pub tcp: TcpTracker,
}

const _: () = assert!(size_of::<Flow<Ipv4Addr>>() == 64, "a flow of IPv4 is one cache line");

impl<A> Flow<A> {
    /// The sides that a packet of `sender` comes from and goes to.
    #[inline(always)]
    pub const fn sides(&self, sender: End) -> (Side, Side) {
        let near = Side::Client(self.near);
        let far = match self.kind {
            FlowKind::ClientToClient(peer) => Side::Client(peer),
            FlowKind::Outbound | FlowKind::PortForward => Side::Uplink,
        };
        match sender {
            End::Near => (near, far),
            End::Far => (far, near),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_generations_wraps() {
        let last = Generation(u32::MAX);
        assert!(last.is_before(last.next()) && !last.next().is_before(last) && !last.is_before(last));
        assert_eq!(last.max(last.next()), Generation(0));
        assert_eq!(last.next().round_before(), Some(Generation(0u32.wrapping_sub(1 << 20))));
        assert_eq!(last.round_before(), None);
    }
}
