//! A packet of a known flow: its flow's state moves on, its header is rewritten, and it leaves.

use core::net::Ipv4Addr;

use super::engine::{Engine, Hop, Parcel, Passage, Verdict};
use super::outbound::read_transport;
use crate::client::{ClientSlot, Side};
use crate::counters::Drop;
use crate::flow::record::{End, Flow, Route, Stage};
use crate::flow::slab::Id;
use crate::flow::table::Entry;
use crate::flow::tcp::{Step, TcpStage};
use crate::flow::tick::Tick;
use crate::guard::Answer;
use crate::nat::ident::UNCUT_BYTES;
use crate::nat::rewrite::{Heading, PortChange, readdress, repoint};
use crate::packet::Gso;
use crate::route::report::Report;
use crate::route::segmentation::Segmented;
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
    const fn of(flow: &Flow) -> Names {
        let Flow { near, route, near_port, outer_port, .. } = *flow;
        Names { near, route, near_port, outer_port }
    }
}

/// What a packet does to its flow.
enum Motion {
    /// The flow's timeout starts anew.
    Refresh,
    /// The flow enters this stage, and its timeout starts anew.
    Enter(Stage),
    /// Nothing changes.
    Keep,
}

impl Engine {
    /// Takes a packet that `sender` sent along the flow `id`. `None` when the packet is of no flow after all: the flow
    /// was over or is forbidden now, or the packet opens a new connection under its name; it has been ended.
    #[inline(always)]
    pub(super) fn pass(
        &mut self,
        now: Moment,
        id: Id<Flow>,
        sender: End,
        parcel: &mut Parcel<'_>,
        transport: &Transport,
    ) -> Option<Verdict> {
        let tick = Tick::at(now);
        let mut entry = self.flows.entry(id)?;
        let flow = entry.flow();
        if flow.deadline.is_over(tick) || !self.freshness.is_met(flow) {
            return self.pass_after_review(now, id, sender, &mut parcel.again());
        }
        let (from, to) = flow.sides(sender);
        if let Some(obstacle) = obstacle(parcel, self.mtus.of(to)) {
            return Some(Verdict::Discard(self.turn_back(now, from, &parcel.again(), obstacle)));
        }
        match motion(&mut entry, sender, transport) {
            Ok(Motion::Refresh) => entry.refresh(tick),
            Ok(Motion::Enter(stage)) => entry.enter(stage, tick),
            Ok(Motion::Keep) => {}
            Err(Step::Reopen) => {
                self.end(id, now);
                return None;
            }
            Err(Step::Renounce) => {
                // The SYN comes again within a second or so, and opens a flow of its own.
                self.end(id, now);
                return Some(Verdict::Discard(Drop::TcpState));
            }
            Err(Step::Turn) => return self.turn(now, id, sender, &mut parcel.again()),
            Err(_) => return Some(Verdict::Discard(Drop::TcpState)),
        }
        let names = Names::of(entry.flow());
        Some(self.translate(names, sender, to, parcel, transport))
    }

    /// As [`Engine::pass`], for a flow that may be over, or was last judged before something changed.
    #[cold]
    fn pass_after_review(
        &mut self,
        now: Moment,
        id: Id<Flow>,
        sender: End,
        parcel: &mut Parcel<'_>,
    ) -> Option<Verdict> {
        if self.is_alive(id, now) { self.pass_seldom(now, id, sender, parcel) } else { None }
    }

    /// Takes a SYN of the end that did not open the flow `id`, if the rules let that end open one. `None` when the flow
    /// was over: it has been ended, and the SYN may open its own.
    #[cold]
    fn turn(&mut self, now: Moment, id: Id<Flow>, sender: End, parcel: &mut Parcel<'_>) -> Option<Verdict> {
        let flow = *self.flows.get(id)?;
        if self.turned(&flow).is_none_or(|turned| self.judge(&turned, now) != Answer::Accept) {
            return Some(Verdict::Discard(Drop::TcpState));
        }
        if matches!(flow.stage, Stage::Tcp(TcpStage::Closed | TcpStage::Reset)) {
            self.end(id, now);
            return None;
        }
        let transport = match read_transport(parcel, parcel.ip.protocol) {
            Ok(transport) => transport,
            Err(why) => return Some(Verdict::Discard(why)),
        };
        if let (Some(mut entry), Transport::Tcp(syn)) = (self.flows.entry(id), &transport) {
            entry.tcp().remember(sender, syn);
        }
        Some(self.translate(Names::of(&flow), sender, flow.sides(sender).1, parcel, &transport))
    }

    /// The flow as its other end would have opened it.
    fn turned(&self, flow: &Flow) -> Option<Flow> {
        Some(match flow.route {
            Route::Outward => Flow { route: Route::Forwarded, ..*flow },
            Route::Forwarded => Flow { route: Route::Outward, ..*flow },
            Route::Between(peer) => Flow {
                near: peer,
                near_port: flow.far_port,
                far: self.clients.get(flow.near)?.address,
                far_port: flow.near_port,
                route: Route::Between(flow.near),
                ..*flow
            },
        })
    }

    /// Takes a packet along the flow `id`: once for all who call it seldom.
    #[inline(never)]
    pub(super) fn pass_seldom(
        &mut self,
        now: Moment,
        id: Id<Flow>,
        sender: End,
        parcel: &mut Parcel<'_>,
    ) -> Option<Verdict> {
        match read_transport(parcel, parcel.ip.protocol) {
            Ok(transport) => self.pass(now, id, sender, parcel, &transport),
            Err(why) => Some(Verdict::Discard(why)),
        }
    }

    /// Whether a packet has a hop left and fits the MTU ahead, or may be cut; else its sender is told.
    pub(super) fn fits(
        &mut self,
        now: Moment,
        from: Side,
        to: Side,
        parcel: &Parcel<'_>,
    ) -> Result<(), Drop> {
        match obstacle(parcel, self.mtus.of(to)) {
            Some(obstacle) => Err(self.turn_back(now, from, parcel, obstacle)),
            None => Ok(()),
        }
    }

    /// Tells the sender of a packet why it goes no further.
    #[cold]
    fn turn_back(&mut self, now: Moment, from: Side, parcel: &Parcel<'_>, obstacle: Obstacle) -> Drop {
        let (why, report) = match obstacle {
            Obstacle::NoHopLeft => (Drop::TtlExpired, Report::TimeExceeded),
            Obstacle::TooBig { mtu } => (Drop::TooBig, Report::TooBig { mtu }),
        };
        self.report(now, from, parcel, report);
        why
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
        let ident = self.ident(to, parcel.ip.destination, parcel);
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
        let passage = Passage { to, source, destination, ident, hop: Hop::Next };
        let addresses = readdress(header, ip, &passage.heading(ip));
        if change != PortChange::None
            && let Some(bytes) = header.get_mut(usize::from(ip.header_bytes)..)
        {
            repoint(bytes, ip.protocol, transport, offload.checksum, addresses, change);
        }
        Verdict::Forward(passage)
    }

    /// The identification a packet to `destination` leaves with: its own, unless it may be cut behind our one uplink address,
    /// where two clients may have picked the same (conformance X-6, I-17).
    #[inline(always)]
    pub(super) fn ident(&mut self, to: Side, destination: Ipv4Addr, parcel: &Parcel<'_>) -> u16 {
        let ip = &parcel.ip;
        match (to, ip.cutting, ip.part) {
            (Side::Client(_), _, _) | (_, Cutting::Forbidden, Part::Whole) => ip.ident,
            (_, _, Part::Whole) if ip.total_bytes <= UNCUT_BYTES.min(self.mtus.of(to)) => ip.ident,
            // Of one to be segmented, that of its first segment: they count on from there.
            _ => {
                let uplink = self.mtus.of(Side::Uplink);
                let packets = parcel.offload.gso.map_or(1, |gso| segments(parcel.header, *ip, gso, uplink));
                self.idents.next(destination, ip.protocol, packets)
            }
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

/// Why a packet goes no further, whatever its flow.
enum Obstacle {
    /// It has no hop left.
    NoHopLeft,
    /// It may not be cut or cannot be, and is larger than the MTU ahead.
    TooBig { mtu: u16 },
}

/// What keeps a packet from leaving by a side of this `mtu`.
#[inline(always)]
fn obstacle(parcel: &Parcel<'_>, mtu: u16) -> Option<Obstacle> {
    let ip = &parcel.ip;
    if ip.ttl <= 1 {
        return Some(Obstacle::NoHopLeft);
    }
    if ip.total_bytes <= mtu {
        return None;
    }
    let fits = match parcel.offload.gso {
        None => ip.cutting == Cutting::Allowed,
        Some(gso) => fits_in_segments(parcel.header, *ip, gso, mtu),
    };
    if fits { None } else { Some(Obstacle::TooBig { mtu }) }
}

/// Whether the segments of a packet fit `mtu`, or may be made to. The header is handed over by value, as by
/// [`segments`], so that those of other packets stay in registers.
#[inline(never)]
fn fits_in_segments(header: &[u8], ip: Ipv4, gso: Gso, mtu: u16) -> bool {
    let segmented = Segmented::of(header, &ip, gso.segment_bytes);
    match ip.cutting {
        Cutting::Forbidden => segmented.largest_bytes() <= mtu,
        Cutting::Allowed => segmented.within(mtu).is_some(),
    }
}

/// How many segments a packet leaves in.
#[inline(never)]
fn segments(header: &[u8], ip: Ipv4, gso: Gso, mtu: u16) -> u16 {
    let asked = Segmented::of(header, &ip, gso.segment_bytes);
    asked.within(mtu).unwrap_or(asked).count()
}

/// What the packet that `sender` sent does to its flow; else what is to be done instead of passing it.
#[inline(always)]
fn motion(entry: &mut Entry<'_>, sender: End, transport: &Transport) -> Result<Motion, Step> {
    let flow = entry.flow();
    let opener = flow.route.opener();
    match (flow.stage, transport) {
        (Stage::Tcp(stage), Transport::Tcp(segment)) => {
            match entry.tcp().step(stage, opener, sender, segment) {
                Step::Restart(next) if next == stage => Ok(Motion::Refresh),
                Step::Restart(next) => Ok(Motion::Enter(Stage::Tcp(next))),
                Step::Keep => Ok(Motion::Keep),
                step => Err(step),
            }
        }
        (stage, _) => {
            // ICMP queries stay unreplied: a new one refreshes its flow, an answer does not.
            let next = if flow.protocol == protocol::ICMP { stage } else { stage.after(sender, opener) };
            if next != stage {
                return Ok(Motion::Enter(next));
            }
            // A client's packets refresh its flow; the uplink's only one that was answered.
            let refreshes =
                sender == End::Near || matches!(flow.route, Route::Between(_)) || stage != Stage::Unreplied;
            Ok(if refreshes { Motion::Refresh } else { Motion::Keep })
        }
    }
}
