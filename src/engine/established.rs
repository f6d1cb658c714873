//! A packet of a known flow: its flow's state moves on, its header is rewritten, and it leaves.

use core::net::Ipv4Addr;

use super::datapath::{Datapath, PacketView, Verdict};
use super::transport::read_transport;
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::base::tick::Tick;
use crate::base::time::Moment;
use crate::flow::end::End;
use crate::flow::record::{Flow, FlowKind, FlowStage};
use crate::flow::table::FlowEntry;
use crate::flow::tcp::{SegmentAction, TcpStage};
use crate::guard::Answer;
use crate::guard::name_addresses::FlowAge;
use crate::nat::ident::UNCUT_BYTES;
use crate::nat::rewrite::{PortChange, readdress, repoint};
use crate::nat::translation::{Translation, Ttl};
use crate::route::icmp_error::IcmpError;
use crate::route::segmentation::Segmented;
use crate::tables::slab::Id;
use crate::wire::checksum::Delta;
use crate::wire::ipv4::{DontFragment, Ipv4, Part, protocol};
use crate::wire::packet::Gso;
use crate::wire::transport::Transport;

/// What a packet's rewriting needs to know of its flow.
#[derive(Clone, Copy)]
struct RewriteInfo {
    near: ClientSlot,
    kind: FlowKind,
    near_port: u16,
    outer_port: u16,
}

impl RewriteInfo {
    const fn of(flow: &Flow) -> RewriteInfo {
        let Flow { near, kind, near_port, outer_port, .. } = *flow;
        RewriteInfo { near, kind, near_port, outer_port }
    }
}

/// What a packet does to its flow.
enum FlowChange {
    /// The flow's timeout starts anew.
    Refresh,
    /// The flow enters this stage, or once more, and its timeout starts anew.
    Enter(FlowStage),
    /// The flow was answered, without TCP and not so that it is assured, and its timeout starts anew.
    Answer,
    /// Nothing changes.
    Keep,
}

impl Datapath {
    /// Takes a packet that `sender` sent along the flow `id`. `None` when the packet is of no flow after all: the flow
    /// was over or is forbidden now, or the packet opens a new connection under its name; it has been ended.
    #[inline(always)]
    pub(super) fn pass(
        &mut self,
        now: Moment,
        id: Id<Flow>,
        sender: End,
        view: &mut PacketView<'_>,
        transport: &Transport,
    ) -> Option<Verdict> {
        let tick = Tick::at(now);
        let mut entry = self.flows.entry(id)?;
        let flow = entry.flow();
        if flow.deadline.is_over(tick) || !self.freshness.is_met(flow) {
            return self.pass_after_revalidation(now, id, sender, &mut view.again());
        }
        let (from, to) = flow.sides(sender);
        if let Some(obstacle) = why_cannot_pass(view, self.mtus.of(to)) {
            return Some(Verdict::Discard(self.refuse_to_pass(now, from, &view.again(), obstacle)));
        }
        match flow_change(&mut entry, sender, transport, tick) {
            Ok(FlowChange::Refresh) => entry.refresh(tick),
            Ok(FlowChange::Enter(stage)) => entry.enter(stage, tick),
            Ok(FlowChange::Answer) => entry.answer(tick),
            Ok(FlowChange::Keep) => {}
            Err(SegmentAction::Reopen) => {
                self.end(id, now);
                return None;
            }
            Err(SegmentAction::Renounce) => {
                // The SYN comes again within a second or so, and opens a flow of its own.
                self.end(id, now);
                return Some(Verdict::Discard(DropReason::TcpState));
            }
            Err(SegmentAction::Turn) => return self.turn(now, id, sender, &mut view.again()),
            Err(_) => return Some(Verdict::Discard(DropReason::TcpState)),
        }
        let info = RewriteInfo::of(entry.flow());
        Some(self.translate(info, sender, to, view, transport))
    }

    /// As [`Datapath::pass`], for a flow that may be over, or was last judged before something changed.
    #[cold]
    fn pass_after_revalidation(
        &mut self,
        now: Moment,
        id: Id<Flow>,
        sender: End,
        view: &mut PacketView<'_>,
    ) -> Option<Verdict> {
        if self.is_alive(id, now) { self.pass_seldom(now, id, sender, view) } else { None }
    }

    /// Takes a SYN of the end that did not open the flow `id`, if the rules let that end open one. `None` when the flow
    /// was over: it has been ended, and the SYN may open its own.
    #[cold]
    fn turn(&mut self, now: Moment, id: Id<Flow>, sender: End, view: &mut PacketView<'_>) -> Option<Verdict> {
        let flow = *self.flows.get(id)?;
        if self
            .turned(&flow)
            .is_none_or(|turned| self.judge(&turned, now, FlowAge::New).answer != Answer::Accept)
        {
            return Some(Verdict::Discard(DropReason::TcpState));
        }
        if matches!(flow.stage, FlowStage::Tcp(TcpStage::BothFinReceived | TcpStage::Reset)) {
            self.end(id, now);
            return None;
        }
        let transport = match read_transport(view, view.ip.protocol) {
            Ok(transport) => transport,
            Err(why) => return Some(Verdict::Discard(why)),
        };
        if let (Some(mut entry), Transport::Tcp(syn)) = (self.flows.entry(id), &transport) {
            entry.tcp().remember(sender, syn);
        }
        Some(self.translate(RewriteInfo::of(&flow), sender, flow.sides(sender).1, view, &transport))
    }

    /// The flow as its other end would have opened it.
    fn turned(&self, flow: &Flow) -> Option<Flow> {
        Some(match flow.kind {
            FlowKind::Outbound => Flow { kind: FlowKind::PortForward, ..*flow },
            FlowKind::PortForward => Flow { kind: FlowKind::Outbound, ..*flow },
            FlowKind::ClientToClient(peer) => Flow {
                near: peer,
                near_port: flow.far_port,
                far: self.clients.get(flow.near)?.address,
                far_port: flow.near_port,
                kind: FlowKind::ClientToClient(flow.near),
                ..*flow
            },
        })
    }

    /// As [`Datapath::pass`], but not inlined into its callers, who call it seldom.
    #[inline(never)]
    pub(super) fn pass_seldom(
        &mut self,
        now: Moment,
        id: Id<Flow>,
        sender: End,
        view: &mut PacketView<'_>,
    ) -> Option<Verdict> {
        match read_transport(view, view.ip.protocol) {
            Ok(transport) => self.pass(now, id, sender, view, &transport),
            Err(why) => Some(Verdict::Discard(why)),
        }
    }

    /// Whether a packet has a hop left and fits the MTU ahead, or may be cut; else its sender is told.
    pub(super) fn fits(
        &mut self,
        now: Moment,
        from: Side,
        to: Side,
        view: &PacketView<'_>,
    ) -> Result<(), DropReason> {
        match why_cannot_pass(view, self.mtus.of(to)) {
            Some(obstacle) => Err(self.refuse_to_pass(now, from, view, obstacle)),
            None => Ok(()),
        }
    }

    /// Tells the sender of a packet why it goes no further.
    #[cold]
    fn refuse_to_pass(
        &mut self,
        now: Moment,
        from: Side,
        view: &PacketView<'_>,
        obstacle: CannotPass,
    ) -> DropReason {
        let (why, report) = match obstacle {
            CannotPass::NoHopLeft => (DropReason::TtlExpired, IcmpError::TimeExceeded),
            CannotPass::TooBig { mtu } => (DropReason::TooBig, IcmpError::TooBig { mtu }),
        };
        self.report(now, from, view, report);
        why
    }

    /// Rewrites a packet that goes to `to`.
    #[inline(always)]
    fn translate(
        &mut self,
        info: RewriteInfo,
        sender: End,
        to: Side,
        view: &mut PacketView<'_>,
        transport: &Transport,
    ) -> Verdict {
        let ident = self.ident(to, view.ip.destination, view);
        let PacketView { header, ip, offload } = view;
        let (source, destination, change) = match (info.kind, sender) {
            (FlowKind::ClientToClient(peer), _) => {
                let (from, into) = match sender {
                    End::Near => (info.near, peer),
                    End::Far => (peer, info.near),
                };
                let (Some(from), Some(into)) = (self.clients.get(from), self.clients.get(into)) else {
                    return Verdict::Discard(DropReason::NoClient);
                };
                (from.address, into.visible.address, PortChange::None)
            }
            (_, End::Near) => (self.settings.uplink, ip.destination, PortChange::Source(info.outer_port)),
            (_, End::Far) => {
                let Some(near) = self.clients.get(info.near) else {
                    return Verdict::Discard(DropReason::NoClient);
                };
                (ip.source, near.visible.address, PortChange::Destination(info.near_port))
            }
        };
        let translation = Translation { to, source, destination, ident, ttl: Ttl::Decrement };
        let addresses = readdress(header, ip, &translation.new_header(ip));
        if (change != PortChange::None || addresses != Delta::NONE)
            && let Some(bytes) = header.get_mut(usize::from(ip.header_bytes)..)
        {
            repoint(bytes, ip.protocol, transport, offload.checksum, addresses, change);
        }
        Verdict::Forward(translation)
    }

    /// The identification a packet to `destination` leaves with: its own, unless it may be cut behind our one uplink address,
    /// where two clients may have picked the same (conformance X-6, I-17).
    #[inline(always)]
    pub(super) fn ident(&mut self, to: Side, destination: Ipv4Addr, view: &PacketView<'_>) -> u16 {
        let ip = &view.ip;
        match (to, ip.dont_fragment, ip.part) {
            (Side::Client(_), _, _) | (_, DontFragment::Set, Part::Whole) => ip.ident,
            (_, _, Part::Whole) if ip.total_bytes <= UNCUT_BYTES.min(self.mtus.of(to)) => ip.ident,
            // Of one to be segmented, that of its first segment: they count on from there.
            _ => {
                let uplink = self.mtus.of(Side::Uplink);
                let packets = view.offload.gso.map_or(1, |gso| segments(view.header, *ip, gso, uplink));
                self.idents.next(destination, ip.protocol, packets)
            }
        }
    }
}

/// Why a packet goes no further, whatever its flow.
enum CannotPass {
    /// It has no hop left.
    NoHopLeft,
    /// It may not be cut or cannot be, and is larger than the MTU ahead.
    TooBig { mtu: u16 },
}

/// What keeps a packet from leaving by a side of this `mtu`.
#[inline(always)]
fn why_cannot_pass(view: &PacketView<'_>, mtu: u16) -> Option<CannotPass> {
    let ip = &view.ip;
    if ip.ttl <= 1 {
        return Some(CannotPass::NoHopLeft);
    }
    if ip.total_bytes <= mtu {
        return None;
    }
    let fits = match view.offload.gso {
        None => ip.dont_fragment == DontFragment::Clear,
        Some(gso) => fits_in_segments(view.header, *ip, gso, mtu),
    };
    if fits { None } else { Some(CannotPass::TooBig { mtu }) }
}

/// Whether the segments of a packet fit `mtu`, or may be made to. The header is handed over by value, as by
/// [`segments`], so that those of other packets stay in registers.
#[inline(never)]
fn fits_in_segments(header: &[u8], ip: Ipv4, gso: Gso, mtu: u16) -> bool {
    let segmented = Segmented::of(header, &ip, gso.segment_bytes);
    match ip.dont_fragment {
        DontFragment::Set => segmented.largest_bytes() <= mtu,
        DontFragment::Clear => segmented.within(mtu).is_some(),
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
fn flow_change(
    entry: &mut FlowEntry<'_>,
    sender: End,
    transport: &Transport,
    now: Tick,
) -> Result<FlowChange, SegmentAction> {
    let flow = entry.flow();
    let opener = flow.kind.opener();
    match (flow.stage, transport) {
        (FlowStage::Tcp(stage), Transport::Tcp(segment)) => {
            match entry.tcp().step(stage, opener, sender, segment) {
                SegmentAction::Restart(next) if next == stage => Ok(FlowChange::Refresh),
                SegmentAction::Restart(next) => Ok(FlowChange::Enter(FlowStage::Tcp(next))),
                SegmentAction::Keep => Ok(FlowChange::Keep),
                step => Err(step),
            }
        }
        (stage, _) => {
            // ICMP queries stay unreplied: a new one refreshes its flow, an answer does not.
            let next = if flow.protocol == protocol::ICMP { stage } else { stage.after(sender, opener) };
            // The near end's packets refresh its flow; the far end's only one that was answered.
            let refreshes = sender == End::Near || stage != FlowStage::Unreplied;
            Ok(match next {
                _ if next == stage && (!refreshes || entry.was_refreshed(now)) => FlowChange::Keep,
                FlowStage::Replied => FlowChange::Answer,
                FlowStage::Assured if next == stage => FlowChange::Refresh,
                _ => FlowChange::Enter(next),
            })
        }
    }
}
