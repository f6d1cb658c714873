//! The firewall as plainly as it can be said: lists that are searched from end to end.
//!
//! It knows no hash, no wheel, no slab and no sequence number that wraps. The one thing it cannot foresee is which
//! outer port the engine picks; it is told, and checks that the pick was allowed.

use super::tcp::{Connection, Effect, Segment, Stage};
use ravelin::counters::Drop;
use std::net::Ipv4Addr;

pub type Slot = u8;

/// Whoever holds something: a client, the uplink, or those that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    Client(Slot),
    Uplink,
    Departed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Uplink,
    Client(Slot),
}

/// What a packet carries.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    Tcp(Segment),
    Udp,
    EchoRequest,
    EchoReply,
    Other(u8),
}

impl Load {
    pub fn protocol(&self) -> u8 {
        match self {
            Load::Tcp(_) => 6,
            Load::Udp => 17,
            Load::EchoRequest | Load::EchoReply => 1,
            Load::Other(protocol) => *protocol,
        }
    }
}

/// A packet: of a ping, the identifier is in both ports; of other protocols the ports are zero.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub source: (Ipv4Addr, u16),
    pub destination: (Ipv4Addr, u16),
    pub load: Load,
    pub ttl: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Outward,
    Forwarded,
    Between(Slot),
}

#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub near: Slot,
    pub protocol: u8,
    pub near_port: u16,
    pub far: Ipv4Addr,
    pub far_port: u16,
    pub outer_port: u16,
    pub route: Route,
    /// Exchanges there were, in halves: one for the first answer, two when its opener went on, three when that was
    /// answered too.
    pub turns: u32,
    pub tcp: Option<Connection>,
    pub deadline: u64,
    /// When it joined those that may be sacrificed, by a count of such events.
    pub young_since: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    pub holder: Holder,
    pub pool: usize,
    pub inner_port: u16,
    pub outer_port: u16,
    pub flows: u32,
    /// Until when it rests.
    pub rests: Option<u64>,
}

/// What the model allows.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Remotes that are forbidden, per client.
    pub forbidden: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Pairs of clients where the first may open flows to the second.
    pub permits: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Protocol, uplink port, client, client port.
    pub forwards: Vec<(u8, u16, Ipv4Addr, u16)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub flows: u32,
    pub flows_per_client: u32,
    pub mappings: u32,
    pub ports_per_client: u32,
}

/// What is expected of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It leaves, with these ends.
    Forward { to: Place, source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16) },
    /// It is dropped; the sender gets an ICMP error with this type and code, or nothing.
    Drop(Drop, Option<(u8, u8)>),
    /// It is dropped and answered with a RST.
    Reset,
}

pub struct Model {
    pub now: u64,
    pub uplink: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub clients: Vec<(Slot, Ipv4Addr)>,
    pub rules: Rules,
    pub limits: Limits,
    pub flows: Vec<Flow>,
    pub mappings: Vec<Mapping>,
    events: u64,
}

const POOL_SIZES: [u32; 5] = [424, 64_512, 424, 64_512, 65_536];

pub fn pool_of(protocol: u8, port: u16) -> Option<usize> {
    match protocol {
        6 => Some(usize::from(port >= 1024)),
        17 => Some(2 + usize::from(port >= 1024)),
        1 => Some(4),
        _ => None,
    }
}

fn is_in_class(pool: usize, port: u16) -> bool {
    match pool {
        0 | 2 => (600..1024).contains(&port),
        1 | 3 => port >= 1152,
        _ => true,
    }
}

impl Flow {
    fn is_assured(&self) -> bool {
        self.tcp.map_or(self.turns == 3, |connection| connection.is_assured())
    }

    fn timeout(&self) -> u64 {
        match (self.protocol, self.tcp.map(|connection| connection.stage)) {
            (_, Some(Stage::Opening | Stage::Crossed | Stage::Answered | Stage::Reset)) => 240,
            (_, Some(Stage::Finished { near: true, far: true })) => 240,
            (_, Some(_)) => 7500,
            (1, _) => 60,
            (17, _) if self.turns > 0 && self.far_port == 53 => 60,
            (17, _) => {
                if self.turns == 3 {
                    300
                } else {
                    120
                }
            }
            _ => {
                if self.turns > 0 {
                    600
                } else {
                    120
                }
            }
        }
    }

    fn payer(&self) -> Holder {
        if self.route == Route::Forwarded { Holder::Uplink } else { Holder::Client(self.near) }
    }

    fn opener(&self) -> usize {
        usize::from(self.route == Route::Forwarded)
    }
}

impl Model {
    pub fn new(uplink: Ipv4Addr, gateway: Ipv4Addr, limits: Limits, now: u64) -> Model {
        let (clients, rules) = (Vec::new(), Rules::default());
        Model { now, uplink, gateway, clients, rules, limits, flows: vec![], mappings: vec![], events: 0 }
    }

    pub fn address(&self, slot: Slot) -> Option<Ipv4Addr> {
        self.clients.iter().find(|client| client.0 == slot).map(|client| client.1)
    }

    pub fn slot(&self, address: Ipv4Addr) -> Option<Slot> {
        self.clients.iter().find(|client| client.1 == address).map(|client| client.0)
    }

    fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    // Changes.

    pub fn attach(&mut self, slot: Slot, address: Ipv4Addr) {
        self.detach(slot);
        if let Some(other) = self.slot(address) {
            self.detach(other);
        }
        self.clients.push((slot, address));
        self.revoke();
    }

    pub fn detach(&mut self, slot: Slot) {
        if self.address(slot).is_none() {
            return;
        }
        self.clients.retain(|client| client.0 != slot);
        self.end_where(|flow| flow.near == slot || flow.route == Route::Between(slot));
        for mapping in self.mappings.iter_mut().filter(|mapping| mapping.holder == Holder::Client(slot)) {
            mapping.holder = Holder::Departed;
            mapping.rests = Some(self.now + 120);
        }
    }

    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        self.revoke();
    }

    pub fn set_uplink(&mut self, address: Ipv4Addr) {
        if address != self.uplink {
            self.uplink = address;
            self.end_where(|flow| !matches!(flow.route, Route::Between(_)));
        }
    }

    /// Ends flows that are not allowed any more.
    fn revoke(&mut self) {
        let verdicts: Vec<bool> = self.flows.iter().map(|flow| self.is_allowed(flow)).collect();
        let mut verdicts = verdicts.into_iter();
        self.end_where(|_| !verdicts.next().unwrap());
    }

    /// Ends what is over.
    pub fn advance(&mut self) {
        let now = self.now;
        self.mappings.retain(|mapping| mapping.rests.is_none_or(|until| until >= now));
        self.end_where(|flow| flow.deadline < now);
    }

    fn end_where(&mut self, mut is_one: impl FnMut(&Flow) -> bool) {
        let (ended, left) = std::mem::take(&mut self.flows).into_iter().partition(|flow| is_one(flow));
        self.flows = left;
        let ended: Vec<Flow> = ended;
        ended.iter().for_each(|flow| self.release(flow));
    }

    fn release(&mut self, flow: &Flow) {
        if flow.route == Route::Outward
            && let Some(pool) = pool_of(flow.protocol, flow.near_port)
        {
            let holder = Holder::Client(flow.near);
            let now = self.now;
            let is_it =
                |it: &&mut Mapping| it.holder == holder && it.pool == pool && it.inner_port == flow.near_port;
            let mapping = self.mappings.iter_mut().find(is_it).unwrap();
            mapping.flows -= 1;
            if mapping.flows == 0 {
                mapping.rests = Some(now + 120);
            }
        }
    }

    fn end(&mut self, at: usize) {
        let flow = self.flows.remove(at);
        self.release(&flow);
    }

    // Questions.

    fn is_allowed(&self, flow: &Flow) -> bool {
        let near = self.address(flow.near).unwrap();
        match flow.route {
            Route::Outward => {
                self.slot(flow.far).is_none() && !self.rules.forbidden.contains(&(near, flow.far))
            }
            Route::Between(peer) => {
                self.slot(flow.far) == Some(peer) && self.rules.permits.contains(&(near, flow.far))
            }
            Route::Forwarded => {
                let forward = (flow.protocol, flow.outer_port, near, flow.near_port);
                self.rules.forwards.contains(&forward) && self.slot(flow.far).is_none()
            }
        }
    }

    /// Whether `holder` may have one more, given what everybody has.
    fn has_room(
        &self,
        holder: Holder,
        capacity: u32,
        cap: u32,
        uplink_too: bool,
        held: &[(Holder, u32)],
    ) -> bool {
        let is_member = |holder: Holder| match holder {
            Holder::Client(slot) => self.address(slot).is_some(),
            Holder::Uplink => uplink_too,
            Holder::Departed => false,
        };
        let members = self.clients.len() as u32 + u32::from(uplink_too);
        let floor = capacity / 2 / members.max(1);
        let guaranteed = |holder| if is_member(holder) { floor } else { 0 };
        let common: u32 = held.iter().map(|(holder, count)| count.saturating_sub(guaranteed(*holder))).sum();
        let own = held.iter().find(|(other, _)| *other == holder).map_or(0, |(_, count)| *count);
        own < cap && (own < guaranteed(holder) || common < capacity - floor * members)
    }

    fn count(holders: impl Iterator<Item = Holder>) -> Vec<(Holder, u32)> {
        let mut counts = std::collections::BTreeMap::new();
        holders.for_each(|holder| *counts.entry(holder).or_insert(0) += 1);
        counts.into_iter().collect()
    }

    fn flow_has_room(&self, payer: Holder) -> bool {
        let held = Self::count(self.flows.iter().map(Flow::payer));
        (self.flows.len() as u32) < self.limits.flows
            && self.has_room(
                payer,
                self.limits.flows,
                self.limits.flows_per_client,
                !self.rules.forwards.is_empty(),
                &held,
            )
    }

    /// The outer port of a new flow's endpoint; `choice` is what the engine picked if it had to pick.
    fn acquire(
        &mut self,
        slot: Slot,
        pool: usize,
        inner_port: u16,
        choice: Option<u16>,
    ) -> Result<u16, Drop> {
        let holder = Holder::Client(slot);
        let known = |it: &&mut Mapping| it.holder == holder && it.pool == pool && it.inner_port == inner_port;
        if let Some(mapping) = self.mappings.iter_mut().find(known) {
            mapping.flows += 1;
            mapping.rests = None;
            return Ok(mapping.outer_port);
        }
        let of_pool = Self::count(self.mappings.iter().filter(|it| it.pool == pool).map(|it| it.holder));
        let of_all = Self::count(self.mappings.iter().map(|it| it.holder));
        let size = POOL_SIZES[pool];
        let cap = self.limits.ports_per_client.min(size - size / 4);
        let all = self.limits.mappings;
        let room = self.has_room(holder, size, cap, false, &of_pool)
            && self.has_room(holder, all, all - all / 4, false, &of_all)
            && (self.mappings.len() as u32) < all;
        let outer_port = if room {
            let port = choice.expect("the engine did not give a port that was free");
            assert!(is_in_class(pool, port), "port {port} is not of its class");
            let protocol = [6, 6, 17, 17, 1][pool];
            assert!(!self.rules.forwards.iter().any(|it| (it.0, it.1) == (protocol, port)));
            assert!(
                !self.mappings.iter().any(|it| it.pool == pool && it.outer_port == port),
                "port {port} is taken"
            );
            port
        } else {
            let own =
                self.mappings.iter().enumerate().filter(|(_, it)| it.holder == holder && it.pool == pool);
            let resting: Vec<(u64, usize)> = own.filter_map(|(at, it)| Some((it.rests?, at))).collect();
            let longest = resting.iter().map(|(until, _)| *until).min().ok_or(Drop::PortLimit)?;
            // Any of those that came to rest in the same second.
            let mut candidates = resting.iter().filter(|(until, _)| *until == longest).map(|(_, at)| *at);
            let is_choice = |at: &usize| Some(self.mappings[*at].outer_port) == choice;
            let at = candidates.clone().find(is_choice).or(candidates.next()).unwrap();
            self.mappings.remove(at).outer_port
        };
        self.mappings.push(Mapping { holder, pool, inner_port, outer_port, flows: 1, rests: None });
        Ok(outer_port)
    }

    // Packets.

    /// The ports of a packet as its near end sees them: (its own, the far one).
    fn ports(sent: &Sent, from_near: bool) -> (u16, u16) {
        match (sent.load, from_near) {
            (Load::EchoRequest | Load::EchoReply, _) => (sent.source.1, 0),
            (_, true) => (sent.source.1, sent.destination.1),
            (_, false) => (sent.destination.1, sent.source.1),
        }
    }

    /// Finds a flow that is alive; one that is over is ended on the way.
    fn find(&mut self, is_it: impl Fn(&Flow) -> bool) -> Option<usize> {
        let at = self.flows.iter().position(is_it)?;
        if self.flows[at].deadline < self.now {
            self.end(at);
            return None;
        }
        Some(at)
    }

    pub fn find_inside(
        &mut self,
        slot: Slot,
        protocol: u8,
        port: u16,
        far: (Ipv4Addr, u16),
    ) -> Option<usize> {
        self.find(|it| {
            (it.near, it.protocol, it.near_port, it.far, it.far_port) == (slot, protocol, port, far.0, far.1)
        })
    }

    pub fn find_outside(&mut self, protocol: u8, port: u16, far: (Ipv4Addr, u16)) -> Option<usize> {
        self.find(|it| {
            !matches!(it.route, Route::Between(_))
                && (it.protocol, it.outer_port, it.far, it.far_port) == (protocol, port, far.0, far.1)
        })
    }

    fn prohibited(why: Drop) -> Expected {
        Expected::Drop(why, Some((3, 13)))
    }

    /// A client's packet.
    pub fn outbound(&mut self, from: Slot, sent: &Sent, choice: Option<u16>) -> Expected {
        let Some(address) = self.address(from) else { return Expected::Drop(Drop::NoClient, None) };
        if sent.source.0 != address {
            return Expected::Drop(Drop::Spoofed, None);
        }
        if let Load::Tcp(segment) = sent.load
            && !segment.is_possible()
        {
            return Expected::Drop(Drop::TcpFlags, None);
        }
        let protocol = sent.load.protocol();
        let far = sent.destination.0;
        if !matches!(sent.load, Load::EchoReply) {
            let (port, far_port) = Self::ports(sent, true);
            if let Some(at) = self.find_inside(from, protocol, port, (far, far_port))
                && let Some(expected) = self.pass(at, 0, sent)
            {
                return expected;
            }
        }
        if !matches!(sent.load, Load::EchoRequest)
            && let Some(near) = self.slot(far)
        {
            let (port, far_port) = Self::ports(sent, false);
            if let Some(at) = self.find_inside(near, protocol, port, (address, far_port))
                && let Some(expected) = self.pass(at, 1, sent)
            {
                return expected;
            }
        }
        self.open_outward(from, sent, choice)
    }

    fn open_outward(&mut self, from: Slot, sent: &Sent, choice: Option<u16>) -> Expected {
        let far = sent.destination.0;
        if far == self.gateway || far == self.uplink {
            return match sent.load {
                Load::EchoRequest => Expected::Forward {
                    to: Place::Client(from),
                    source: (far, sent.source.1),
                    destination: sent.source,
                },
                Load::Tcp(_) | Load::Udp if far == self.uplink => Expected::Drop(Drop::Hairpin, None),
                _ => Expected::Drop(Drop::ForFirewall, Some((3, 10))),
            };
        }
        let route = match self.slot(far) {
            Some(peer) if peer == from => return Expected::Drop(Drop::Martian, None),
            Some(peer) => Route::Between(peer),
            None => Route::Outward,
        };
        if sent.ttl <= 1 {
            return Expected::Drop(Drop::TtlExpired, Some((11, 0)));
        }
        let (near_port, far_port) = Self::ports(sent, true);
        let mut flow = self.new_flow(from, sent, near_port, far, far_port, route);
        if !self.is_allowed(&flow) {
            return Self::prohibited(Drop::Rule);
        }
        match sent.load {
            Load::Tcp(segment) if !segment.opens() && segment.rst => {
                return Expected::Drop(Drop::TcpMidstream, None);
            }
            Load::Tcp(segment) if !segment.opens() => return Expected::Reset,
            Load::EchoReply => return Expected::Drop(Drop::EchoUnasked, None),
            _ => {}
        }
        if let Err(why) = self.make_room(&flow) {
            return Self::prohibited(why);
        }
        if route == Route::Outward {
            if let Some(pool) = pool_of(flow.protocol, near_port) {
                match self.acquire(from, pool, near_port, choice) {
                    Ok(port) => flow.outer_port = port,
                    Err(why) => return Self::prohibited(why),
                }
            }
            if self.find_outside(flow.protocol, flow.outer_port, (far, far_port)).is_some() {
                self.release(&flow);
                return Self::prohibited(Drop::ProtocolBusy);
            }
        }
        self.flows.push(flow);
        self.pass(self.flows.len() - 1, 0, sent).unwrap()
    }

    fn new_flow(
        &mut self,
        near: Slot,
        sent: &Sent,
        near_port: u16,
        far: Ipv4Addr,
        far_port: u16,
        route: Route,
    ) -> Flow {
        let opener = usize::from(route == Route::Forwarded);
        let tcp = match sent.load {
            Load::Tcp(segment) => Some(Connection::opened_by(opener, &segment)),
            _ => None,
        };
        let (protocol, young_since) = (sent.load.protocol(), self.next_event());
        let mut flow = Flow {
            near,
            protocol,
            near_port,
            far,
            far_port,
            outer_port: 0,
            route,
            turns: 0,
            tcp,
            deadline: 0,
            young_since,
        };
        flow.deadline = self.now + flow.timeout();
        flow
    }

    /// Sacrifices the payer's oldest flow that is not assured, if there is no room.
    fn make_room(&mut self, flow: &Flow) -> Result<(), Drop> {
        if self.flow_has_room(flow.payer()) {
            return Ok(());
        }
        let young =
            self.flows.iter().enumerate().filter(|(_, it)| it.payer() == flow.payer() && !it.is_assured());
        let (at, _) = young.min_by_key(|(_, it)| it.young_since).ok_or(Drop::FlowLimit)?;
        self.end(at);
        Ok(())
    }

    /// A packet from the uplink.
    pub fn inbound(&mut self, sent: &Sent) -> Expected {
        if sent.destination.0 != self.uplink {
            return Expected::Drop(Drop::NotForUs, None);
        }
        if let Load::Tcp(segment) = sent.load
            && !segment.is_possible()
        {
            return Expected::Drop(Drop::TcpFlags, None);
        }
        if matches!(sent.load, Load::EchoRequest) {
            if sent.source.0 == self.uplink || self.slot(sent.source.0).is_some() {
                return Expected::Drop(Drop::InsideSource, None);
            }
            let source = (self.uplink, sent.source.1);
            return Expected::Forward { to: Place::Uplink, source, destination: sent.source };
        }
        let (port, far_port) = Self::ports(sent, false);
        let protocol = sent.load.protocol();
        if let Some(at) = self.find_outside(protocol, port, (sent.source.0, far_port))
            && let Some(expected) = self.pass(at, 1, sent)
        {
            return expected;
        }
        if sent.source.0 == self.uplink || self.slot(sent.source.0).is_some() {
            return Expected::Drop(Drop::InsideSource, None);
        }
        match sent.load {
            Load::EchoReply => return Expected::Drop(Drop::EchoUnasked, None),
            Load::Udp => {}
            Load::Tcp(segment) if segment.opens() => {}
            _ => return Expected::Drop(Drop::Unsolicited, None),
        }
        let forward = self.rules.forwards.iter().find(|it| (it.0, it.1) == (protocol, port)).copied();
        let Some((near, near_port)) = forward.and_then(|it| Some((self.slot(it.2)?, it.3))) else {
            return Expected::Drop(Drop::Unsolicited, None);
        };
        if sent.ttl <= 1 {
            return Expected::Drop(Drop::TtlExpired, Some((11, 0)));
        }
        let mut flow = self.new_flow(near, sent, near_port, sent.source.0, far_port, Route::Forwarded);
        flow.outer_port = port;
        if self.find_inside(near, protocol, near_port, (flow.far, far_port)).is_some() {
            return Expected::Drop(Drop::ProtocolBusy, None);
        }
        if let Err(why) = self.make_room(&flow) {
            return Expected::Drop(why, None);
        }
        self.flows.push(flow);
        self.pass(self.flows.len() - 1, 1, sent).unwrap()
    }

    /// A packet on a flow; `None` when it opens a new connection and the flow was ended for it.
    fn pass(&mut self, at: usize, sender: usize, sent: &Sent) -> Option<Expected> {
        if sent.ttl <= 1 {
            return Some(Expected::Drop(Drop::TtlExpired, Some((11, 0))));
        }
        let (now, event) = (self.now, self.next_event());
        let flow = &mut self.flows[at];
        let was_assured = flow.is_assured();
        let opener = flow.opener();
        let refresh = match (&mut flow.tcp, sent.load) {
            (Some(connection), Load::Tcp(segment)) => match connection.step(opener, sender, &segment) {
                Effect::Refresh => true,
                Effect::Nothing => false,
                Effect::Reopen => {
                    self.end(at);
                    return None;
                }
                Effect::Refuse => return Some(Expected::Drop(Drop::TcpState, None)),
            },
            _ => {
                // An even number of turns waits for the other end, an odd one for the opener.
                let is_turn = flow.turns < 3 && (flow.turns % 2 == 1) == (sender == opener);
                if is_turn && flow.protocol != 1 {
                    flow.turns += 1;
                }
                sender == 0 || matches!(flow.route, Route::Between(_)) || flow.turns > 0
            }
        };
        if refresh {
            flow.deadline = now + flow.timeout();
        }
        if was_assured && !flow.is_assured() {
            flow.young_since = event;
        }
        let flow = *flow;
        Some(self.destination_of(&flow, sender, sent))
    }

    fn destination_of(&self, flow: &Flow, sender: usize, sent: &Sent) -> Expected {
        let near = (self.address(flow.near).unwrap(), flow.near_port);
        match (flow.route, sender) {
            (Route::Between(peer), 0) => Expected::Forward {
                to: Place::Client(peer),
                source: sent.source,
                destination: sent.destination,
            },
            (Route::Between(_), _) => Expected::Forward {
                to: Place::Client(flow.near),
                source: sent.source,
                destination: sent.destination,
            },
            (_, 0) => Expected::Forward {
                to: Place::Uplink,
                source: (self.uplink, flow.outer_port),
                destination: if flow.protocol == 1 {
                    (sent.destination.0, flow.outer_port)
                } else {
                    sent.destination
                },
            },
            (_, _) => Expected::Forward {
                to: Place::Client(flow.near),
                source: if flow.protocol == 1 { (sent.source.0, flow.near_port) } else { sent.source },
                destination: near,
            },
        }
    }
}
