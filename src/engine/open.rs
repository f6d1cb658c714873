//! A packet without a flow: may it open one?
//!
//! Everything is asked before anything is taken: destination, hops and size, rules, the client's rates and
//! limits; the outer port comes last.

use core::net::{Ipv4Addr, SocketAddrV4};

use super::datapath::{Datapath, PacketView, Verdict};
use super::spared::Excess;
use super::transport::{near_and_far_port, read_transport};
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::base::tick::Tick;
use crate::base::time::Moment;
use crate::flow::end::End;
use crate::flow::record::{Chained, Flow, FlowKind, FlowStage};
use crate::flow::table::FlowRefusal;
use crate::flow::tcp::{TcpStage, TcpTracker};
use crate::guard::Answer;
use crate::guard::forward::ForwardTarget;
use crate::guard::name_addresses::FlowAge;
use crate::guard::ruling::RuledBy;
use crate::nat::ports::PoolKind;
use crate::route::destination::Reach;
use crate::route::icmp_error::{IcmpError, is_host};
use crate::tables::allowance::Taken;
use crate::tables::slab::Id;
use crate::wire::icmp::Icmp;
use crate::wire::ipv4::protocol;
use crate::wire::transport::Transport;
use crate::wire::udp::DHCP_CLIENT;

impl Datapath {
    /// Opens a flow for a packet from the client `from`, and takes the packet along.
    #[inline(never)]
    pub(super) fn open_outward(
        &mut self,
        now: Moment,
        from: ClientSlot,
        view: &mut PacketView<'_>,
        transport: &Transport,
    ) -> Verdict {
        let peer = match self.outward_route(from, view.ip.destination) {
            Ok(route) => route,
            Err(DropReason::ForFirewall) => return self.serve(now, from, view, transport),
            Err(why) => return Verdict::Discard(why),
        };
        let to = match peer {
            FlowKind::ClientToClient(peer) if peer == from => return Verdict::Discard(DropReason::Martian),
            FlowKind::ClientToClient(peer) => Side::Client(peer),
            FlowKind::Outbound | FlowKind::PortForward => Side::Uplink,
        };
        if let Transport::Udp(datagram) = transport
            && datagram.destination_port == DHCP_CLIENT
        {
            return Verdict::Discard(DropReason::Dhcp);
        }
        if let Err(why) = self.fits(now, Side::Client(from), to, view) {
            return Verdict::Discard(why);
        }
        let flow = self.new_flow(from, view.ip.destination, view.ip.protocol, peer, transport, End::Near);
        let ruling = self.judge(&flow, now, FlowAge::New);
        self.rules.count(ruling.by);
        match ruling.answer {
            Answer::Accept => {}
            Answer::Reject => return self.refuse(now, from, view, DropReason::Rule),
            Answer::Unknown => return Verdict::Discard(DropReason::UnknownSource),
        }
        match transport {
            Transport::Tcp(segment) if !segment.opens() => {
                if !segment.flags.contains(crate::wire::tcp::Flags::RST) {
                    self.reset(now, from, &view.ip, segment);
                }
                return Verdict::Discard(DropReason::TcpMidstream);
            }
            Transport::Icmp(Icmp::Reply { .. }) => return Verdict::Discard(DropReason::EchoUnasked),
            _ => {}
        }
        match self.enter(now, flow) {
            Ok(id) => self.pass_opener(now, id, End::Near, view),
            Err(why) => {
                self.warn(now, from, why);
                match why {
                    // The shortage is over in a moment. An ICMP error would end a connection that its sender only has
                    // to try again.
                    DropReason::FlowRate => Verdict::Discard(why),
                    _ => self.refuse(now, from, view, why),
                }
            }
        }
    }

    /// Opens a flow for a packet from the uplink if its port is forwarded. Nothing else is ever admitted, and
    /// nobody is told.
    #[inline(never)]
    pub(super) fn open_inward(&mut self, now: Moment, view: &mut PacketView<'_>) -> Verdict {
        let transport = match read_transport(view, view.ip.protocol) {
            Ok(transport) => transport,
            Err(why) => return Verdict::Discard(why),
        };
        let transport = &transport;
        let source = view.ip.source;
        if let Err(why) = self.check_stranger(source) {
            return Verdict::Discard(why);
        }
        if let Transport::Udp(datagram) = transport
            && self.mappings.is_own_port(datagram.destination_port)
        {
            return self.take_own(view, datagram);
        }
        let outer_port = match transport {
            Transport::Tcp(segment) if segment.opens() => segment.destination_port,
            Transport::Udp(datagram) => datagram.destination_port,
            Transport::Icmp(Icmp::Reply { .. }) => return Verdict::Discard(DropReason::EchoUnasked),
            _ => return Verdict::Discard(DropReason::Unsolicited),
        };
        let target = self.rules.port_forward(view.ip.protocol, outer_port);
        let Some(ForwardTarget { to: target, id }) = target else {
            return Verdict::Discard(DropReason::Unsolicited);
        };
        self.rules.count(RuledBy::Rule(id));
        let Some(near) = self.clients.slot_of(*target.ip()) else {
            return Verdict::Discard(DropReason::Unsolicited);
        };
        let mut flow =
            self.new_flow(near, source, view.ip.protocol, FlowKind::PortForward, transport, End::Far);
        flow.outer_port = outer_port;
        flow.near_port = target.port();
        if let Err(why) = self.fits(now, Side::Uplink, Side::Client(near), view) {
            return Verdict::Discard(why);
        }
        if let Some(other) = self.flows.find(&crate::flow::key::FlowKey::internal(&flow))
            && self.is_alive(other, now)
        {
            // A flow that the client opened from another port, before this one was forwarded to it, gives way unless
            // that would break a connection.
            let gives_way = self.flows.get(other).is_some_and(|it| {
                it.mapping.is_some() && (!it.stage.is_assured() || it.protocol == protocol::UDP)
            });
            if !gives_way {
                return Verdict::Discard(DropReason::ProtocolBusy);
            }
            self.end(other, now);
        }
        match self.enter(now, flow) {
            Ok(id) => self.pass_opener(now, id, End::Far, view),
            Err(why) => Verdict::Discard(why),
        }
    }

    /// Whether `source` can be that of somebody on the uplink who is not known yet (conformance F-6, F-7).
    pub(super) fn check_stranger(&self, source: Ipv4Addr) -> Result<(), DropReason> {
        if !is_host(source) || self.settings.network().reach(source) != Reach::Host {
            return Err(DropReason::Martian);
        }
        if source == self.settings.uplink || self.is_inside(source) {
            return Err(DropReason::InsideSource);
        }
        Ok(())
    }

    /// Whether `address` belongs to a client, connected or not.
    pub(super) fn is_inside(&self, address: Ipv4Addr) -> bool {
        self.clients.slot_of(address).is_some() || self.inside.contains(address)
    }

    /// Where a packet from the client `from` to `destination` would go.
    fn outward_route(&self, from: ClientSlot, destination: Ipv4Addr) -> Result<FlowKind, DropReason> {
        let visible_gateway = self.clients.get(from).and_then(|client| client.visible.gateway);
        if destination == self.settings.client_gateway
            || destination == self.settings.uplink
            || Some(destination) == visible_gateway
        {
            return Err(DropReason::ForFirewall);
        }
        if let Some(peer) = self.clients.slot_of(destination) {
            return Ok(FlowKind::ClientToClient(peer));
        }
        if self.inside.contains(destination) {
            return Err(DropReason::NoClient);
        }
        match self.settings.network().reach(destination) {
            Reach::Host => Ok(FlowKind::Outbound),
            Reach::Many => Err(DropReason::Multicast),
            Reach::Martian => Err(DropReason::Martian),
        }
    }

    /// The record of a flow that `transport`, sent by `opener`, would open.
    fn new_flow(
        &self,
        near: ClientSlot,
        far: Ipv4Addr,
        protocol: u8,
        route: FlowKind,
        transport: &Transport,
        opener: End,
    ) -> Flow {
        let (near_port, far_port) = near_and_far_port(transport, opener);
        let (stage, tcp) = match transport {
            Transport::Tcp(segment) => (FlowStage::Tcp(TcpStage::SynSent), TcpTracker::open(opener, segment)),
            _ => (FlowStage::Unreplied, TcpTracker::default()),
        };
        Flow {
            far,
            near_port,
            far_port,
            outer_port: 0,
            protocol,
            near,
            kind: route,
            stage,
            unused: 0,
            deadline: Tick(0),
            judged: self.generation,
            mapping: None,
            chained: Chained::default(),
            tcp,
        }
    }

    /// Enters `flow` into the table, with an outer port if it needs one.
    fn enter(&mut self, now: Moment, mut flow: Flow) -> Result<Id<Flow>, DropReason> {
        let pace = match flow.kind {
            FlowKind::PortForward => Taken::Granted,
            _ => self.clients.get_mut(flow.near).ok_or(DropReason::NoClient)?.new_flows.take(now),
        };
        let forwarded_port = self.forwarded_port(now, &flow);
        let pool = match flow.kind {
            FlowKind::Outbound if forwarded_port.is_none() => PoolKind::of(flow.protocol, flow.near_port),
            _ => None,
        };
        if let Some((mapping, outer_port)) = self.make_room(now, &flow, pool, pace)? {
            flow.mapping = Some(mapping);
            flow.outer_port = outer_port;
        }
        if let Some(port) = forwarded_port {
            flow.outer_port = port;
        }
        if self.spared.excess == Excess::Possible {
            self.shrink(&flow, now);
        }
        let entered = self.clear_name(now, &flow).and_then(|()| {
            self.flows.insert(flow, Tick::at(now), &mut self.places).map_err(|refusal| match refusal {
                FlowRefusal::NoRoom => DropReason::FlowLimit,
                FlowRefusal::KeyTaken => DropReason::ProtocolBusy,
            })
        });
        match entered {
            Ok(_) => {
                self.counters.opened += 1;
                self.note_callers(&flow);
            }
            Err(_) => {
                if let Some(mapping) = flow.mapping {
                    self.mappings.release(mapping, Tick::at(now));
                }
            }
        }
        entered
    }

    /// The forwarded port, if there is one, that stands for the endpoint from which `flow` goes out (conformance M-11).
    /// `None` also while a flow that is older than the forward still talks to the same far end from that port.
    fn forwarded_port(&mut self, now: Moment, flow: &Flow) -> Option<u16> {
        if flow.kind != FlowKind::Outbound {
            return None;
        }
        let endpoint = SocketAddrV4::new(self.clients.get(flow.near)?.address, flow.near_port);
        let outer_port = self.rules.port_to(flow.protocol, endpoint)?;
        self.clear_name(now, &Flow { outer_port, ..*flow }).ok().map(|()| outer_port)
    }

    /// Makes sure that the external key of `flow` is not kept by a flow that is over.
    fn clear_name(&mut self, now: Moment, flow: &Flow) -> Result<(), DropReason> {
        let other = crate::flow::key::FlowKey::external(flow).and_then(|key| self.flows.find(&key));
        match other {
            Some(id) if self.is_alive(id, now) => Err(DropReason::ProtocolBusy),
            _ => Ok(()),
        }
    }

    /// Takes along the packet that opened the flow `id`.
    fn pass_opener(&mut self, now: Moment, id: Id<Flow>, sender: End, view: &mut PacketView<'_>) -> Verdict {
        let passed = self.pass_seldom(now, id, sender, view);
        passed.unwrap_or(Verdict::Discard(DropReason::TcpState))
    }

    /// Refuses a client's packet and tells it so.
    pub(super) fn refuse(
        &mut self,
        now: Moment,
        from: ClientSlot,
        view: &PacketView<'_>,
        why: DropReason,
    ) -> Verdict {
        self.report(now, Side::Client(from), view, IcmpError::Prohibited);
        Verdict::Discard(why)
    }
}
