//! A packet without a flow: may it open one?
//!
//! Everything is asked before anything is taken: destination, hops and size, rules, the client's rates and
//! limits; the outer port comes last.

use core::net::{Ipv4Addr, SocketAddrV4};

use super::engine::{Engine, Parcel, Verdict};
use super::outbound::read_transport;
use crate::client::{ClientSlot, Side};
use crate::counters::Drop;
use crate::flow::allowance::Taken;
use crate::flow::record::{Chained, End, Flow, Route, Stage};
use crate::flow::slab::Id;
use crate::flow::table::Refusal;
use crate::flow::tcp::{TcpStage, Track};
use crate::flow::tick::Tick;
use crate::guard::Answer;
use crate::nat::ports::PoolKind;
use crate::route::destination::Reach;
use crate::route::report::{Report, is_host};
use crate::time::Moment;
use crate::wire::icmp::Icmp;
use crate::wire::ipv4::protocol;
use crate::wire::transport::Transport;
use crate::wire::udp::DHCP_CLIENT;

/// Ports of a packet as the client on the near end sees them: (its own, the far end's). Of an ICMP query they are its
/// identifier and what it asks for, so that one kind of query never gets another's answer.
pub(super) const fn near_and_far_port(transport: &Transport, sender: End) -> (u16, u16) {
    let (source, destination) = match transport {
        Transport::Tcp(segment) => (segment.source_port, segment.destination_port),
        Transport::Udp(datagram) => (datagram.source_port, datagram.destination_port),
        Transport::Icmp(Icmp::Request { query, ident } | Icmp::Reply { query, ident }) => {
            return (*ident, query.kind() as u16);
        }
        Transport::Icmp(Icmp::Error) | Transport::Other => (0, 0),
    };
    match sender {
        End::Near => (source, destination),
        End::Far => (destination, source),
    }
}

impl Engine {
    /// Opens a flow for a packet from the client on `from`, and takes the packet along.
    #[inline(never)]
    pub(super) fn open_outward(
        &mut self,
        now: Moment,
        from: ClientSlot,
        parcel: &mut Parcel<'_>,
        transport: &Transport,
    ) -> Verdict {
        let peer = match self.outward_route(parcel.ip.destination) {
            Ok(route) => route,
            Err(Drop::ForFirewall) => return self.serve(now, from, parcel, transport),
            Err(why) => return Verdict::Discard(why),
        };
        let to = match peer {
            Route::Between(peer) if peer == from => return Verdict::Discard(Drop::Martian),
            Route::Between(peer) => Side::Client(peer),
            Route::Outward | Route::Forwarded => Side::Uplink,
        };
        if let Transport::Udp(datagram) = transport
            && datagram.destination_port == DHCP_CLIENT
        {
            return Verdict::Discard(Drop::Dhcp);
        }
        if let Err(why) = self.fits(now, Side::Client(from), to, parcel) {
            return Verdict::Discard(why);
        }
        let flow = self.new_flow(from, parcel.ip.destination, parcel.ip.protocol, peer, transport, End::Near);
        match self.judge(&flow, now) {
            Answer::Accept => {}
            Answer::Reject => return self.refuse(now, from, parcel, Drop::Rule),
            Answer::Unknown => return Verdict::Discard(Drop::UnknownSource),
        }
        match transport {
            Transport::Tcp(segment) if !segment.opens() => {
                if !segment.flags.contains(crate::wire::tcp::Flags::RST) {
                    self.reset(now, from, &parcel.ip, segment);
                }
                return Verdict::Discard(Drop::TcpMidstream);
            }
            Transport::Icmp(Icmp::Reply { .. }) => return Verdict::Discard(Drop::EchoUnasked),
            _ => {}
        }
        match self.enter(now, flow) {
            Ok(id) => self.pass_opener(now, id, End::Near, parcel),
            Err(why) => {
                self.notice(now, from, why);
                match why {
                    // Over in a moment: an error would end what its sender only has to try again.
                    Drop::FlowRate => Verdict::Discard(why),
                    _ => self.refuse(now, from, parcel, why),
                }
            }
        }
    }

    /// Opens a flow for a packet from the uplink if its port is forwarded. Nothing else is ever admitted, and
    /// nobody is told.
    #[inline(never)]
    pub(super) fn open_inward(&mut self, now: Moment, parcel: &mut Parcel<'_>) -> Verdict {
        let transport = match read_transport(parcel, parcel.ip.protocol) {
            Ok(transport) => transport,
            Err(why) => return Verdict::Discard(why),
        };
        let transport = &transport;
        let source = parcel.ip.source;
        if let Err(why) = self.check_stranger(source) {
            return Verdict::Discard(why);
        }
        let outer_port = match transport {
            Transport::Tcp(segment) if segment.opens() => segment.destination_port,
            Transport::Udp(datagram) => datagram.destination_port,
            Transport::Icmp(Icmp::Reply { .. }) => return Verdict::Discard(Drop::EchoUnasked),
            _ => return Verdict::Discard(Drop::Unsolicited),
        };
        let target = self.rules.port_forward(parcel.ip.protocol, outer_port);
        let Some(target) = target else { return Verdict::Discard(Drop::Unsolicited) };
        let Some(near) = self.clients.slot_of(*target.ip()) else {
            return Verdict::Discard(Drop::Unsolicited);
        };
        let mut flow = self.new_flow(near, source, parcel.ip.protocol, Route::Forwarded, transport, End::Far);
        flow.outer_port = outer_port;
        flow.near_port = target.port();
        if let Err(why) = self.fits(now, Side::Uplink, Side::Client(near), parcel) {
            return Verdict::Discard(why);
        }
        if let Some(other) = self.flows.find(&crate::flow::key::Key::inside(&flow))
            && self.is_alive(other, now)
        {
            // A flow that the client opened from another port, before this one was forwarded to it, gives way unless
            // that would break a connection.
            let gives_way = self.flows.get(other).is_some_and(|it| {
                it.mapping.is_some() && (!it.stage.is_assured() || it.protocol == protocol::UDP)
            });
            if !gives_way {
                return Verdict::Discard(Drop::ProtocolBusy);
            }
            self.end(other, now);
        }
        match self.enter(now, flow) {
            Ok(id) => self.pass_opener(now, id, End::Far, parcel),
            Err(why) => Verdict::Discard(why),
        }
    }

    /// Whether `source` can be that of somebody on the uplink who is not known yet (conformance F-6, F-7).
    pub(super) fn check_stranger(&self, source: Ipv4Addr) -> Result<(), Drop> {
        if !is_host(source) || self.settings.network().reach(source) != Reach::Host {
            return Err(Drop::Martian);
        }
        if source == self.settings.uplink || self.clients.slot_of(source).is_some() {
            return Err(Drop::InsideSource);
        }
        Ok(())
    }

    /// Where a packet from a client to `destination` would go.
    fn outward_route(&self, destination: Ipv4Addr) -> Result<Route, Drop> {
        if destination == self.settings.client_gateway || destination == self.settings.uplink {
            return Err(Drop::ForFirewall);
        }
        if let Some(peer) = self.clients.slot_of(destination) {
            return Ok(Route::Between(peer));
        }
        match self.settings.network().reach(destination) {
            Reach::Host => Ok(Route::Outward),
            Reach::Many => Err(Drop::Multicast),
            Reach::Martian => Err(Drop::Martian),
        }
    }

    /// The record of a flow that `transport`, sent by `opener`, would open.
    fn new_flow(
        &self,
        near: ClientSlot,
        far: Ipv4Addr,
        protocol: u8,
        route: Route,
        transport: &Transport,
        opener: End,
    ) -> Flow {
        let (near_port, far_port) = near_and_far_port(transport, opener);
        let (stage, tcp) = match transport {
            Transport::Tcp(segment) => (Stage::Tcp(TcpStage::Opening), Track::open(opener, segment)),
            _ => (Stage::Unreplied, Track::default()),
        };
        Flow {
            far,
            near_port,
            far_port,
            outer_port: 0,
            protocol,
            near,
            route,
            stage,
            deadline: Tick(0),
            judged: self.generation,
            mapping: None,
            chained: Chained::default(),
            tcp,
        }
    }

    /// Enters `flow` into the table, with an outer port if it needs one.
    fn enter(&mut self, now: Moment, mut flow: Flow) -> Result<Id<Flow>, Drop> {
        let pace = match flow.route {
            Route::Forwarded => Taken::Granted,
            _ => self.clients.get_mut(flow.near).ok_or(Drop::NoClient)?.new_flows.take(now),
        };
        let forwarded_port = self.forwarded_port(now, &flow);
        let pool = match flow.route {
            Route::Outward if forwarded_port.is_none() => PoolKind::of(flow.protocol, flow.near_port),
            _ => None,
        };
        if let Some((mapping, outer_port)) = self.make_room(now, &flow, pool, pace)? {
            flow.mapping = Some(mapping);
            flow.outer_port = outer_port;
        }
        if let Some(port) = forwarded_port {
            flow.outer_port = port;
        }
        let entered = self.clear_name(now, &flow).and_then(|()| {
            self.flows.insert(flow, Tick::at(now)).map_err(|refusal| match refusal {
                Refusal::NoRoom => Drop::FlowLimit,
                Refusal::NameTaken => Drop::ProtocolBusy,
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

    /// The forwarded port that is the mapping of the endpoint from which `flow` goes out (conformance M-11). Where a
    /// flow that is older than the forward still talks to the same far end from that port, there is none.
    fn forwarded_port(&mut self, now: Moment, flow: &Flow) -> Option<u16> {
        if flow.route != Route::Outward {
            return None;
        }
        let endpoint = SocketAddrV4::new(self.clients.get(flow.near)?.address, flow.near_port);
        let outer_port = self.rules.port_to(flow.protocol, endpoint)?;
        self.clear_name(now, &Flow { outer_port, ..*flow }).ok().map(|()| outer_port)
    }

    /// Makes sure that the outside name of `flow` is not kept by a flow that is over.
    fn clear_name(&mut self, now: Moment, flow: &Flow) -> Result<(), Drop> {
        let other = crate::flow::key::Key::outside(flow).and_then(|name| self.flows.find(&name));
        match other {
            Some(id) if self.is_alive(id, now) => Err(Drop::ProtocolBusy),
            _ => Ok(()),
        }
    }

    /// Takes along the packet that opened the flow `id`.
    fn pass_opener(&mut self, now: Moment, id: Id<Flow>, sender: End, parcel: &mut Parcel<'_>) -> Verdict {
        let passed = self.pass_seldom(now, id, sender, parcel);
        passed.unwrap_or(Verdict::Discard(Drop::TcpState))
    }

    /// Refuses a client's packet and tells it so.
    pub(super) fn refuse(
        &mut self,
        now: Moment,
        from: ClientSlot,
        parcel: &Parcel<'_>,
        why: Drop,
    ) -> Verdict {
        self.report(now, Side::Client(from), parcel, Report::Prohibited);
        Verdict::Discard(why)
    }
}
