//! A packet of a known flow: its flow's state moves on, its header is rewritten, and it leaves.

use super::engine::{Engine, Hop, Parcel, Passage, Verdict};
use crate::client::{ClientSlot, Side};
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

/// What a packet's rewriting needs to know of its flow.
#[derive(Clone, Copy)]
struct Names {
    near: ClientSlot,
    route: Route,
    near_port: u16,
    outer_port: u16,
}

impl Names {
    /// The sides that a packet of `sender` comes from and goes to.
    #[inline(always)]
    const fn sides(&self, sender: End) -> (Side, Side) {
        let near = Side::Client(self.near);
        let far = match self.route {
            Route::Between(peer) => Side::Client(peer),
            Route::Outward | Route::Forwarded => Side::Uplink,
        };
        match sender {
            End::Near => (near, far),
            End::Far => (far, near),
        }
    }
}

/// What becomes of a packet's state on its way through its flow.
enum Motion {
    /// The flow goes on in this stage with its timeout started anew.
    Restart(Stage),
    /// Nothing changes.
    Keep,
}

impl Engine {
    /// Takes a packet that `sender` sent along the flow `id`, which is alive. `None` when it opens a new connection
    /// under its flow's name, which has been ended for it.
    #[inline(always)]
    pub(super) fn pass(
        &mut self,
        now: Moment,
        id: Id<Flow>,
        sender: End,
        parcel: &mut Parcel<'_>,
        transport: &Transport,
    ) -> Option<Verdict> {
        let Some(flow) = self.flows.get(id) else {
            return Some(Verdict::Discard(Drop::Unsolicited));
        };
        let names = Names {
            near: flow.near,
            route: flow.route,
            near_port: flow.near_port,
            outer_port: flow.outer_port,
        };
        let (from, to) = names.sides(sender);
        if let Err(why) = self.fits(now, from, to, parcel) {
            return Some(Verdict::Discard(why));
        }
        match self.motion(id, sender, transport) {
            Ok(Motion::Restart(stage)) => self.flows.restart(id, stage, Tick::at(now)),
            Ok(Motion::Keep) => {}
            Err(Step::Reopen) => {
                self.end(id, now);
                return None;
            }
            Err(_) => return Some(Verdict::Discard(Drop::TcpState)),
        }
        Some(self.translate(names, sender, to, parcel, transport))
    }

    /// Whether a packet has a hop left and fits the MTU ahead, or may be cut; else its sender is told.
    #[inline(always)]
    pub(super) fn fits(
        &mut self,
        now: Moment,
        from: Side,
        to: Side,
        parcel: &Parcel<'_>,
    ) -> Result<(), Drop> {
        let mtu = self.mtu(to);
        if parcel.ip.ttl > 1 && (parcel.ip.total_bytes <= mtu || parcel.ip.cutting == Cutting::Allowed) {
            return Ok(());
        }
        self.check_ends(now, from, mtu, parcel)
    }

    /// As [`Engine::fits`], for packets that seem not to.
    #[cold]
    fn check_ends(&mut self, now: Moment, from: Side, mtu: u16, parcel: &Parcel<'_>) -> Result<(), Drop> {
        if parcel.ip.ttl <= 1 {
            self.report(now, from, parcel, Report::TimeExceeded);
            return Err(Drop::TtlExpired);
        }
        if largest_piece(parcel) > mtu && parcel.ip.cutting == Cutting::Forbidden {
            self.report(now, from, parcel, Report::TooBig { mtu });
            return Err(Drop::TooBig);
        }
        Ok(())
    }

    /// Moves the state of the flow `id` on.
    #[inline(always)]
    fn motion(&mut self, id: Id<Flow>, sender: End, transport: &Transport) -> Result<Motion, Step> {
        let Some(flow) = self.flows.get_mut(id) else { return Ok(Motion::Keep) };
        let opener = flow.route.opener();
        match (flow.stage, transport) {
            (Stage::Tcp(stage), Transport::Tcp(segment)) => {
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

    /// Rewrites a packet that goes to `to`.
    #[inline(always)]
    fn translate(
        &mut self,
        names: Names,
        sender: End,
        to: Side,
        parcel: &mut Parcel<'_>,
        transport: &Transport,
    ) -> Verdict {
        let Parcel { header, ip, offload } = parcel;
        let (source, destination, change) = match (names.route, sender) {
            (Route::Between(_), _) => (ip.source, ip.destination, PortChange::None),
            (_, End::Near) => (self.settings.uplink, ip.destination, PortChange::Source(names.outer_port)),
            (_, End::Far) => {
                let Some(near) = self.clients.get(names.near) else {
                    return Verdict::Discard(Drop::NoClient);
                };
                (ip.source, near.address, PortChange::Destination(names.near_port))
            }
        };
        let passage = Passage { to, source, destination, ident: self.ident(to, ip), hop: Hop::Next };
        let addresses = readdress(header, ip, &passage.heading(ip));
        if change != PortChange::None
            && let Some(bytes) = header.get_mut(usize::from(ip.header_bytes)..)
        {
            repoint(bytes, ip.protocol, transport, offload.checksum, addresses, change);
        }
        Verdict::Forward(passage)
    }

    /// The identification a packet leaves with: its own, unless it may be cut behind our one uplink address,
    /// where two clients may have picked the same (conformance X-6).
    #[inline(always)]
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

/// Bytes of the largest IP packet that leaves: of a GSO packet, one segment.
fn largest_piece(parcel: &Parcel<'_>) -> u16 {
    let Some(gso) = parcel.offload.gso else { return parcel.ip.total_bytes };
    let ip_bytes = usize::from(parcel.ip.header_bytes);
    let tcp_bytes = parcel.header.get(ip_bytes + 12).map_or(60, |offset| u16::from(offset >> 4) * 4);
    let headers = u16::from(parcel.ip.header_bytes) + tcp_bytes;
    parcel.ip.total_bytes.min(headers.saturating_add(gso.segment_bytes.get()))
}
