//! The fast path: a packet of an open flow, judged and rewritten on the first bytes of its frame.
//!
//! Whatever is not usual is left to the whole engine, and nothing has changed then: options, fragments, segmentation,
//! other protocols than TCP and UDP, SYN, FIN and RST, flows that are new, over, to be judged again or between clients,
//! and packets that may not pass or have to be cut. Of what passes here the whole engine says the same: the simulation
//! asks it for each packet ([`check`]).

#[cfg(feature = "sim")]
mod check;
mod head;

#[cfg(feature = "sim")]
use self::check::Before;
use self::head::{Carried, Head, Ip};
use super::datapath::Datapath;
use crate::base::side::{ClientSlot, Side};
use crate::base::tick::Tick;
use crate::base::time::Moment;
use crate::flow::end::End;
use crate::flow::freshness::Freshness;
use crate::flow::key::{FlowKey, Realm};
use crate::flow::record::{FlowKind, FlowStage};
use crate::flow::table::FlowEntry;
use crate::flow::tcp::SegmentAction;
use crate::wire::frame_view::FrameView;
use crate::wire::packet::Original;
use core::net::Ipv4Addr;

/// Where a packet goes that has passed and is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The side it leaves by, as vifs have it.
    pub exit: Side,
    /// Its receiver.
    pub destination: Ipv4Addr,
    /// Bytes of the IP packet: what lies behind them is no part of it.
    pub total_bytes: u16,
    /// What a client's packet said before.
    pub original: Option<Original>,
}

impl Datapath {
    /// Passes a packet of the client on `slot` that is of an open flow to the uplink. `None`: it is for the whole engine.
    #[inline(never)]
    pub fn pass_fast_outward(
        &mut self,
        now: Moment,
        slot: ClientSlot,
        frame: &mut FrameView<'_>,
    ) -> Option<Passed> {
        let head = Head::of(frame)?;
        let ip = head.ip()?;
        let near = self.clients.on(slot)?;
        let client = self.clients.get(near)?;
        let carried = head.carried(&ip)?;
        if ip.source != client.visible.address
            || ip.total_bytes > self.mtus.of(Side::Uplink)
            || now >= self.next_revalidation
        {
            return None;
        }
        let (port, far_port) = (carried.source_port(), carried.destination_port());
        let realm = Realm::Internal(near);
        let key = FlowKey { realm, protocol: ip.protocol, port, far: ip.destination, far_port };
        let id = self.flows.find(&key)?;
        #[cfg(feature = "sim")]
        let before = Before::of(id, self.flows.get(id)?, frame);
        let mut entry = self.flows.entry(id)?;
        step(&mut entry, &self.freshness, End::Near, &carried, now)?;
        Head::of(frame)?.replace_source(&ip, &carried, self.settings.uplink, entry.flow().outer_port);
        let Ip { total_bytes, source, destination, ident, .. } = ip;
        let original = Some(Original { source, port, ident });
        let passed = Passed { exit: Side::Uplink, destination, total_bytes, original };
        #[cfg(feature = "sim")]
        self.check_fast_path(now, Side::Client(near), before, frame, &passed);
        self.counters.outward += 1;
        Some(passed)
    }

    /// Passes a packet from the uplink that is of an open flow of a client's. `None`: it is for the whole engine.
    #[inline(never)]
    pub fn pass_fast_inward(&mut self, now: Moment, frame: &mut FrameView<'_>) -> Option<Passed> {
        let head = Head::of(frame)?;
        let ip = head.ip()?;
        let carried = head.carried(&ip)?;
        if ip.destination != self.settings.uplink || now >= self.next_revalidation {
            return None;
        }
        let (port, far_port) = (carried.destination_port(), carried.source_port());
        let key = FlowKey { realm: Realm::External, protocol: ip.protocol, port, far: ip.source, far_port };
        let id = self.flows.find(&key)?;
        #[cfg(feature = "sim")]
        let before = Before::of(id, self.flows.get(id)?, frame);
        let mut entry = self.flows.entry(id)?;
        let near = entry.flow().near;
        let address = self.clients.get(near)?.visible.address;
        let exit = self.clients.outside(Side::Client(near))?;
        if ip.total_bytes > self.mtus.of(Side::Client(near)) {
            return None;
        }
        step(&mut entry, &self.freshness, End::Far, &carried, now)?;
        Head::of(frame)?.replace_destination(&ip, &carried, address, entry.flow().near_port);
        let passed = Passed { exit, destination: address, total_bytes: ip.total_bytes, original: None };
        #[cfg(feature = "sim")]
        self.check_fast_path(now, Side::Uplink, before, frame, &passed);
        self.counters.inward += 1;
        Some(passed)
    }
}

/// Moves a flow on by a packet that `sender` sent. `None`, and nothing has changed, if more is to be done than to start
/// its timeout anew.
#[inline(always)]
fn step(
    entry: &mut FlowEntry<'_>,
    freshness: &Freshness,
    sender: End,
    carried: &Carried,
    now: Moment,
) -> Option<()> {
    let tick = Tick::at(now);
    let flow = entry.flow();
    if flow.deadline.is_over(tick)
        || !freshness.is_met(flow)
        || matches!(flow.kind, FlowKind::ClientToClient(_))
    {
        return None;
    }
    let opener = flow.kind.opener();
    match (flow.stage, carried) {
        (FlowStage::Tcp(stage), Carried::Tcp(segment)) if stage.is_assured() => {
            let action = entry.tcp().step(stage, opener, sender, segment);
            debug_assert_eq!(action, SegmentAction::Restart(stage));
            entry.refresh(tick);
        }
        (FlowStage::Tcp(_), _) | (_, Carried::Tcp(_)) => return None,
        (stage, Carried::Udp { .. }) => {
            // The near end's packets refresh its flow; the far end's only one that was answered.
            let refreshes = sender == End::Near || stage != FlowStage::Unreplied;
            if stage.after(sender, opener) != stage {
                return None;
            }
            if refreshes && !entry.was_refreshed(tick) {
                if stage != FlowStage::Assured {
                    return None;
                }
                entry.refresh(tick);
            }
        }
    }
    Some(())
}
