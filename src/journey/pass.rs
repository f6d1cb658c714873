//! A packet of a known flow: its flow's state moves on, its header is rewritten, and it leaves.

use super::engine::{Engine, Hop, Parcel, Passage, Verdict};
use crate::client::Side;
use crate::counters::Drop;
use crate::flow::record::{End, Flow, Route, Stage};
use crate::flow::slab::Id;
use crate::flow::tcp::Step;
use crate::flow::tick::Tick;
use crate::nat::rewrite::{Heading, PortChange, readdress, repoint};
use crate::route::report::Report;
use crate::time::Moment;
use crate::wire::ipv4::{Cutting, Ipv4, Part, protocol};
use crate::wire::transport::Transport;

/// What a packet did to its flow.
pub(super) enum Passed {
    /// The verdict on it.
    Verdict(Verdict),
    /// It opens a new connection under its flow's name, which has been ended for it.
    Reopened,
}

/// What becomes of a packet's state on its way through its flow.
enum Motion {
    /// The flow goes on in this stage with its timeout started anew.
    Restart(Stage),
    /// Nothing changes.
    Keep,
}

impl Engine {
    /// Takes a packet that `sender` sent along the flow `id`, which is alive.
    pub(super) fn pass(
        &mut self,
        now: Moment,
        id: Id<Flow>,
        sender: End,
        parcel: &mut Parcel<'_>,
        transport: &Transport,
    ) -> Passed {
        let Some(flow) = self.flows.get(id).copied() else {
            return Passed::Verdict(Verdict::Discard(Drop::Unsolicited));
        };
        let (from, to) = sides(&flow, sender);
        if let Err(why) = self.fits(now, from, to, parcel) {
            return Passed::Verdict(Verdict::Discard(why));
        }
        match self.motion(id, &flow, sender, transport) {
            Ok(Motion::Restart(stage)) => self.flows.restart(id, stage, Tick::at(now)),
            Ok(Motion::Keep) => {}
            Err(Step::Reopen) => {
                self.end(id, now);
                return Passed::Reopened;
            }
            Err(_) => return Passed::Verdict(Verdict::Discard(Drop::TcpState)),
        }
        Passed::Verdict(self.translate(&flow, sender, to, parcel, transport))
    }

    /// Whether a packet has a hop left and fits the MTU ahead, or may be cut; else its sender is told.
    pub(super) fn fits(
        &mut self,
        now: Moment,
        from: Side,
        to: Side,
        parcel: &Parcel<'_>,
    ) -> Result<(), Drop> {
        if parcel.ip.ttl <= 1 {
            self.report(now, from, parcel, Report::TimeExceeded);
            return Err(Drop::TtlExpired);
        }
        let mtu = self.mtu(to);
        if largest_piece(parcel) > mtu && parcel.ip.cutting == Cutting::Forbidden {
            self.report(now, from, parcel, Report::TooBig { mtu });
            return Err(Drop::TooBig);
        }
        Ok(())
    }

    /// Moves the flow's state on.
    fn motion(
        &mut self,
        id: Id<Flow>,
        flow: &Flow,
        sender: End,
        transport: &Transport,
    ) -> Result<Motion, Step> {
        let opener = flow.route.opener();
        match (flow.stage, transport) {
            (Stage::Tcp(stage), Transport::Tcp(segment)) => {
                let Some(flow) = self.flows.get_mut(id) else { return Ok(Motion::Keep) };
                match flow.tcp.step(stage, opener, sender, segment) {
                    Step::Restart(next) => Ok(Motion::Restart(Stage::Tcp(next))),
                    Step::Keep => Ok(Motion::Keep),
                    step @ (Step::Reopen | Step::Refuse) => Err(step),
                }
            }
            // Pings stay unreplied: a new one refreshes its flow, an answer does not.
            (Stage::Unreplied, _) if sender != opener && flow.protocol != protocol::ICMP => {
                Ok(Motion::Restart(Stage::Replied))
            }
            (stage, _) => {
                // A client's packets refresh its flow; the uplink's only one that is assured.
                let refreshes =
                    sender == End::Near || matches!(flow.route, Route::Between(_)) || stage.is_assured();
                Ok(if refreshes { Motion::Restart(stage) } else { Motion::Keep })
            }
        }
    }

    /// Rewrites a packet of `flow` that goes to `to`.
    fn translate(
        &mut self,
        flow: &Flow,
        sender: End,
        to: Side,
        parcel: &mut Parcel<'_>,
        transport: &Transport,
    ) -> Verdict {
        let ip = parcel.ip;
        let (source, destination, change) = match (flow.route, sender) {
            (Route::Between(_), _) => (ip.source, ip.destination, PortChange::None),
            (_, End::Near) => (self.settings.uplink, ip.destination, PortChange::Source(flow.outer_port)),
            (_, End::Far) => {
                let Some(near) = self.clients.get(flow.near) else { return Verdict::Discard(Drop::NoClient) };
                (ip.source, near.address, PortChange::Destination(flow.near_port))
            }
        };
        let passage = Passage { to, source, destination, ident: self.ident(to, &ip), hop: Hop::Next };
        let addresses = readdress(parcel.header, &ip, &passage.heading(&ip));
        if change != PortChange::None
            && let Some(bytes) = parcel.header.get_mut(usize::from(ip.header_bytes)..)
        {
            repoint(bytes, ip.protocol, transport, parcel.offload.checksum, addresses, change);
        }
        Verdict::Forward(passage)
    }

    /// The identification a packet leaves with: its own, unless it may be cut behind our one uplink address,
    /// where two clients may have picked the same (conformance X-6).
    fn ident(&mut self, to: Side, ip: &Ipv4) -> u16 {
        match (to, ip.cutting, ip.part) {
            (Side::Uplink, Cutting::Allowed, _) | (Side::Uplink, _, Part::First) => {
                self.idents.next(ip.destination, ip.protocol)
            }
            _ => ip.ident,
        }
    }
}

impl Passage {
    /// The heading of a packet, read as `ip`, that goes this way.
    pub const fn heading(&self, ip: &Ipv4) -> Heading {
        let ttl = match self.hop {
            Hop::Next => ip.ttl.saturating_sub(1),
            Hop::First => crate::route::report::TTL,
        };
        Heading { source: self.source, destination: self.destination, ident: self.ident, ttl }
    }
}

/// The sides that a packet of `flow` comes from and goes to.
const fn sides(flow: &Flow, sender: End) -> (Side, Side) {
    let near = Side::Client(flow.near);
    let far = match flow.route {
        Route::Between(peer) => Side::Client(peer),
        Route::Outward | Route::Forwarded => Side::Uplink,
    };
    match sender {
        End::Near => (near, far),
        End::Far => (far, near),
    }
}

/// Bytes of the largest IP packet that leaves: of a GSO packet, one segment.
pub(super) fn largest_piece(parcel: &Parcel<'_>) -> u16 {
    let Some(gso) = parcel.offload.gso else { return parcel.ip.total_bytes };
    let ip_bytes = usize::from(parcel.ip.header_bytes);
    let tcp_bytes = parcel.header.get(ip_bytes + 12).map_or(60, |offset| u16::from(offset >> 4) * 4);
    let headers = u16::from(parcel.ip.header_bytes) + tcp_bytes;
    parcel.ip.total_bytes.min(headers.saturating_add(gso.segment_bytes.get()))
}
