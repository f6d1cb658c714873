//! The fast path: a packet of an open flow, judged and rewritten on the first bytes of its frame.
//!
//! Whatever is not usual is left to the whole engine, and nothing has changed then: options, fragments, segmentation,
//! other protocols than TCP and UDP, SYN, FIN and RST, flows that are new, over, to be judged again or between clients,
//! and packets that may not pass or have to be cut. Of what passes here the whole engine says the same: the simulation
//! asks it for each packet ([`check`]).

#[cfg(all(feature = "sim", debug_assertions))]
mod check;
mod head;
mod layer4;

#[cfg(all(feature = "sim", debug_assertions))]
use self::check::Before;
use self::head::{DESTINATION, Head, Ip, SOURCE};
use self::layer4::{Carried, Datagram, Segment};
use super::datapath::Datapath;
use super::passed_packet::PassedPacket;
use super::second::Second;
use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::flow::end::End;
use crate::flow::freshness::Freshness;
use crate::flow::key::{FlowKey, Realm};
use crate::flow::record::{Flow, FlowKind};
use crate::wire::frame_view::FrameView;
use crate::wire::packet::Original;

impl Datapath {
    /// Passes a packet of the client on `slot` that is of an open flow to the uplink. `None`: it is for the whole engine.
    #[inline(always)]
    pub fn pass_fast_outward(
        &mut self,
        now: Moment,
        slot: ClientSlot,
        frame: &mut FrameView<'_>,
    ) -> Option<PassedPacket> {
        let ip = Head::of(frame)?.ip()?;
        match ip.protocol {
            Segment::PROTOCOL => self.pass_outward::<Segment>(now, slot, frame, &ip),
            Datagram::PROTOCOL => self.pass_outward::<Datagram>(now, slot, frame, &ip),
            _ => None,
        }
    }

    /// Passes a packet from the uplink that is of an open flow of a client's. `None`: it is for the whole engine.
    #[inline(always)]
    pub fn pass_fast_inward(&mut self, now: Moment, frame: &mut FrameView<'_>) -> Option<PassedPacket> {
        let ip = Head::of(frame)?.ip()?;
        match ip.protocol {
            Segment::PROTOCOL => self.pass_inward::<Segment>(now, frame, &ip),
            Datagram::PROTOCOL => self.pass_inward::<Datagram>(now, frame, &ip),
            _ => None,
        }
    }

    /// The second that it is. `None`: a rule has expired, and the whole engine is to judge flows again first.
    #[inline(always)]
    fn second_of(&mut self, now: Moment) -> Option<Second> {
        if now >= self.second.ends {
            self.second = Second::at(now, &self.settings.timeouts);
        }
        (now < self.next_revalidation).then_some(self.second)
    }

    #[inline(always)]
    fn pass_outward<L: Carried>(
        &mut self,
        now: Moment,
        slot: ClientSlot,
        frame: &mut FrameView<'_>,
        ip: &Ip,
    ) -> Option<PassedPacket> {
        let second = self.second_of(now)?;
        let near = self.clients.on(slot)?;
        if ip.source != self.clients.get(near)?.visible.address || ip.total_bytes > self.mtus.of(Side::Uplink)
        {
            return None;
        }
        let head = Head::of(frame)?;
        let carried = L::read(&head, ip)?;
        let (port, far_port) = head.ports();
        let realm = Realm::Internal(near);
        let key = FlowKey { realm, protocol: L::PROTOCOL, port, far: ip.destination, far_port };
        let id = self.flows.find(&key)?;
        #[cfg(all(feature = "sim", debug_assertions))]
        let before = Before::of(id, self.flows.get(id)?, frame);
        let mut entry = self.flows.entry(id)?;
        may_pass(entry.flow(), &self.freshness, &second)?;
        carried.step(&mut entry, End::Near, &second)?;
        let outer_port = entry.flow().outer_port;
        let Ip { total_bytes, source, destination, ident, may_be_cut, .. } = *ip;
        let mut head = Head::of(frame)?;
        if may_be_cut {
            head.set_ident(self.idents.next(destination, L::PROTOCOL, 1));
        }
        head.rewrite(SOURCE, self.settings.uplink, outer_port, L::SUM_AT, L::complete);
        let original = Some(Original { source, port, ident });
        let passed = PassedPacket { exit: Side::Uplink, destination, total_bytes, original };
        #[cfg(all(feature = "sim", debug_assertions))]
        self.check_fast_path(now, Side::Client(near), before, frame, &passed);
        self.counters.outward += 1;
        Some(passed)
    }

    #[inline(always)]
    fn pass_inward<L: Carried>(
        &mut self,
        now: Moment,
        frame: &mut FrameView<'_>,
        ip: &Ip,
    ) -> Option<PassedPacket> {
        let second = self.second_of(now)?;
        if ip.destination != self.settings.uplink {
            return None;
        }
        let head = Head::of(frame)?;
        let carried = L::read(&head, ip)?;
        let (far_port, port) = head.ports();
        let key = FlowKey { realm: Realm::External, protocol: L::PROTOCOL, port, far: ip.source, far_port };
        let id = self.flows.find(&key)?;
        #[cfg(all(feature = "sim", debug_assertions))]
        let before = Before::of(id, self.flows.get(id)?, frame);
        let mut entry = self.flows.entry(id)?;
        let near = entry.flow().near;
        let address = self.clients.get(near)?.visible.address;
        let exit = self.clients.outside(Side::Client(near))?;
        may_pass(entry.flow(), &self.freshness, &second)?;
        if ip.total_bytes > self.mtus.of(Side::Client(near)) {
            return None;
        }
        carried.step(&mut entry, End::Far, &second)?;
        let near_port = entry.flow().near_port;
        Head::of(frame)?.rewrite(DESTINATION, address, near_port, L::SUM_AT, L::complete);
        let passed = PassedPacket { exit, destination: address, total_bytes: ip.total_bytes, original: None };
        #[cfg(all(feature = "sim", debug_assertions))]
        self.check_fast_path(now, Side::Uplink, before, frame, &passed);
        self.counters.inward += 1;
        Some(passed)
    }
}

/// Whether a flow with the uplink is open and was judged under what holds now.
#[inline(always)]
fn may_pass(flow: &Flow, freshness: &Freshness, second: &Second) -> Option<()> {
    let is_open = !flow.deadline.is_over(second.tick) && freshness.is_met(flow);
    (is_open && !matches!(flow.kind, FlowKind::ClientToClient(_))).then_some(())
}
