//! The firewall as plainly as it can be said: lists that are searched from end to end.
//!
//! It knows no hash, no wheel, no slab and no sequence number that wraps. The one thing it cannot foresee is which
//! outer port the engine picks; it is told, and checks that the pick was allowed.

use super::tcp::{Connection, Effect, Segment, Stage};
use ravelin::base::drop_reason::DropReason;
use std::net::Ipv4Addr;

pub type Slot = u8;

/// Whoever holds something: a client, by the number that its address got when it first came, or the uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    Client(u8),
    Uplink,
}

/// What a flow lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Place,
    Mapping,
    Port(usize),
}

/// Why there is no port, what must be kept by a flow that is ended for one, and who has too many.
struct Short {
    why: DropReason,
    want: Want,
    debtor: Option<Holder>,
}

/// What cannot be foreseen: what the engine picked if it had to pick, and what it holds now (if that is little): pool
/// and outer port.
pub struct Hint {
    pub choice: Option<u16>,
    pub held: Vec<(usize, u16)>,
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
    /// It goes out by a port that is forwarded to its endpoint.
    pub by_forward: bool,
    /// Exchanges there were, in halves: one for the first answer, two when its opener went on, three when that was
    /// answered too.
    pub turns: u32,
    pub tcp: Option<Connection>,
    pub deadline: u64,
    /// Who pays for it.
    pub payer: Holder,
    /// When it joined those that may be sacrificed, or those that may not, by a count of such events.
    pub listed: u64,
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

/// Of something limited: how much there is, the most that one holder may have, and whether the uplink has a part.
#[derive(Clone, Copy)]
struct Limit {
    capacity: u32,
    cap: u32,
    uplink_too: bool,
}

fn of(held: &[(Holder, u32)], holder: Holder) -> u32 {
    held.iter().find(|it| it.0 == holder).map_or(0, |it| it.1)
}

/// What is expected of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It leaves, with these ends.
    Forward { to: Place, source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16) },
    /// It is dropped; the sender gets an ICMP error with this type and code, or nothing.
    DropReason(DropReason, Option<(u8, u8)>),
    /// It is dropped and answered with a RST.
    Reset,
}

pub struct Model {
    pub now: u64,
    pub uplink: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub clients: Vec<(Slot, Ipv4Addr)>,
    /// Every address that a client ever had, and its number.
    numbers: Vec<(Ipv4Addr, u8)>,
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

    /// What it keeps: a port of one of the pools, or none.
    fn kind(&self) -> usize {
        let has_mapping = self.route == Route::Outward && !self.by_forward;
        let pool = if has_mapping { pool_of(self.protocol, self.near_port) } else { None };
        pool.unwrap_or(5)
    }

    fn opener(&self) -> usize {
        usize::from(self.route == Route::Forwarded)
    }
}

impl Model {
    pub fn new(uplink: Ipv4Addr, gateway: Ipv4Addr, limits: Limits, now: u64) -> Model {
        let (clients, rules) = (Vec::new(), Rules::default());
        let (numbers, flows, mappings) = (vec![], vec![], vec![]);
        Model { now, uplink, gateway, clients, numbers, rules, limits, flows, mappings, events: 0 }
    }

    pub fn address(&self, slot: Slot) -> Option<Ipv4Addr> {
        self.clients.iter().find(|client| client.0 == slot).map(|client| client.1)
    }

    pub fn slot(&self, address: Ipv4Addr) -> Option<Slot> {
        self.clients.iter().find(|client| client.1 == address).map(|client| client.0)
    }

    /// Who pays for what the client on `slot` opens.
    fn holder(&self, slot: Slot) -> Holder {
        let address = self.address(slot);
        Holder::Client(self.numbers.iter().find(|it| Some(it.0) == address).unwrap().1)
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
        if !self.numbers.iter().any(|it| it.0 == address) {
            let unused = |number: &u8| !self.numbers.iter().any(|it| it.1 == *number);
            let number = std::iter::once(slot).chain(0..).find(unused).unwrap();
            self.numbers.push((address, number));
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
            && !flow.by_forward
            && let Some(pool) = pool_of(flow.protocol, flow.near_port)
        {
            let holder = flow.payer;
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
                let forward = (flow.protocol, flow.outer_port, near, flow.near_port);
                self.slot(flow.far).is_none()
                    && (!flow.by_forward || self.rules.forwards.contains(&forward))
                    && !self.rules.forbidden.contains(&(near, flow.far))
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

    fn is_member(&self, holder: Holder, uplink_too: bool) -> bool {
        match holder {
            Holder::Client(number) => {
                self.clients.iter().any(|it| self.holder(it.0) == Holder::Client(number))
            }
            Holder::Uplink => uplink_too,
        }
    }

    /// The part of `capacity` that is guaranteed to `holder`.
    fn part(&self, holder: Holder, capacity: u32, uplink_too: bool) -> u32 {
        let members = self.clients.len() as u32 + u32::from(uplink_too);
        if self.is_member(holder, uplink_too) { capacity / 2 / members.max(1) } else { 0 }
    }

    /// Whether `holder` may have one more, given what everybody has.
    fn has_room(&self, holder: Holder, limit: Limit, held: &[(Holder, u32)]) -> bool {
        let Limit { capacity, cap, uplink_too } = limit;
        let members = self.clients.len() as u32 + u32::from(uplink_too);
        let all_parts = capacity / 2 / members.max(1) * members;
        let beyond =
            |(holder, count): &(Holder, u32)| count.saturating_sub(self.part(*holder, capacity, uplink_too));
        let common: u32 = held.iter().map(beyond).sum();
        let own = of(held, holder);
        own < cap && (own < self.part(holder, capacity, uplink_too) || common < capacity - all_parts)
    }

    /// Who has to give to `holder`, if it has less than its part.
    fn debtor(&self, holder: Holder, limit: Limit, held: &[(Holder, u32)]) -> Option<Holder> {
        let part = |holder| self.part(holder, limit.capacity, limit.uplink_too);
        if of(held, holder) >= part(holder).min(limit.cap) {
            return None;
        }
        let excess =
            |it: &(Holder, u32)| (!self.is_member(it.0, limit.uplink_too), it.1.saturating_sub(part(it.0)));
        let most = held.iter().map(excess).filter(|it| it.1 > 0).max()?;
        held.iter().find(|it| excess(it) == most).map(|it| it.0)
    }

    fn count(holders: impl Iterator<Item = Holder>) -> Vec<(Holder, u32)> {
        let mut counts = std::collections::BTreeMap::new();
        holders.for_each(|holder| *counts.entry(holder).or_insert(0) += 1);
        counts.into_iter().collect()
    }

    /// The flow of `holder` that goes first for one that lacks `want`.
    fn oldest(&self, holder: Holder, want: Want, assured: bool) -> Option<u64> {
        let first_of = |kind: usize| {
            let mine = |it: &&Flow| it.payer == holder && it.kind() == kind && it.is_assured() == assured;
            self.flows.iter().filter(mine).min_by_key(|it| it.listed)
        };
        let kinds = (0..6).filter(|kind| match want {
            Want::Place => true,
            Want::Mapping => *kind < 5,
            Want::Port(pool) => *kind == pool,
        });
        let last_heard = |flow: &&Flow| flow.deadline - flow.timeout();
        kinds.filter_map(first_of).min_by_key(last_heard).map(|flow| flow.listed)
    }

    fn who_gives_way(&self, holder: Holder, want: Want, debtor: Option<Holder>) -> Option<u64> {
        let of_debtor = |debtor| self.oldest(debtor, want, false).or(self.oldest(debtor, want, true));
        debtor.and_then(of_debtor).or(self.oldest(holder, want, false))
    }

    fn who_gives_place(&self, flow: &Flow) -> Result<Option<u64>, DropReason> {
        let held = Self::count(self.flows.iter().map(|it| it.payer));
        let limit = Limit {
            capacity: self.limits.flows,
            cap: self.limits.flows_per_client,
            uplink_too: !self.rules.forwards.is_empty(),
        };
        if (self.flows.len() as u32) < self.limits.flows && self.has_room(flow.payer, limit, &held) {
            return Ok(None);
        }
        let debtor = self.debtor(flow.payer, limit, &held);
        self.who_gives_way(flow.payer, Want::Place, debtor).map(Some).ok_or(DropReason::FlowLimit)
    }

    fn give_way(&mut self, listed: Option<u64>) {
        if let Some(at) = self.flows.iter().position(|it| Some(it.listed) == listed) {
            self.end(at);
        }
    }

    /// Makes room for a flow; the outer port of its endpoint if it has one of a pool.
    fn make_room(&mut self, flow: &Flow, hint: &Hint) -> Result<u16, DropReason> {
        let for_place = self.who_gives_place(flow)?;
        if flow.kind() == 5 {
            self.give_way(for_place);
            return Ok(0);
        }
        let short = match self.acquire(flow, hint) {
            Ok(port) => {
                self.give_way(for_place);
                return Ok(port);
            }
            Err(short) => short,
        };
        let gives = self.who_gives_way(flow.payer, short.want, short.debtor).ok_or(short.why)?;
        let is_own = self.flows.iter().any(|it| it.listed == gives && it.payer == flow.payer);
        self.give_way(Some(gives));
        let port = self.acquire(flow, hint).map_err(|_| short.why)?;
        if !is_own && let Ok(for_place) = self.who_gives_place(flow) {
            self.give_way(for_place);
        }
        Ok(port)
    }

    /// The outer port of a new flow's endpoint.
    fn acquire(&mut self, flow: &Flow, hint: &Hint) -> Result<u16, Short> {
        let (holder, pool, inner_port) = (flow.payer, flow.kind(), flow.near_port);
        let known = |it: &&mut Mapping| it.holder == holder && it.pool == pool && it.inner_port == inner_port;
        if let Some(mapping) = self.mappings.iter_mut().find(known) {
            mapping.flows += 1;
            mapping.rests = None;
            return Ok(mapping.outer_port);
        }
        let outer_port = self.free_port(holder, pool, hint)?;
        self.mappings.push(Mapping { holder, pool, inner_port, outer_port, flows: 1, rests: None });
        Ok(outer_port)
    }

    fn free_port(&mut self, holder: Holder, pool: usize, hint: &Hint) -> Result<u16, Short> {
        let why = DropReason::PortLimit;
        let all = self.limits.mappings;
        let limit = Limit { capacity: all, cap: all - all / 4, uplink_too: false };
        let held = Self::count(self.mappings.iter().map(|it| it.holder));
        if self.mappings.len() as u32 >= all || !self.has_room(holder, limit, &held) {
            if let Some(at) = self.longest_resting(holder, pool, hint) {
                return Ok(self.mappings.remove(at).outer_port);
            }
            let debtor = self.debtor(holder, limit, &held);
            let own = self.longest_resting_anywhere(holder, hint);
            let at = own.or_else(|| self.longest_resting_anywhere(debtor?, hint));
            self.mappings.remove(at.ok_or(Short { why, want: Want::Mapping, debtor })?);
        }
        let size = POOL_SIZES[pool];
        let cap = self.limits.ports_per_client.min(size - size / 4);
        let limit = Limit { capacity: size, cap, uplink_too: false };
        let held = Self::count(self.mappings.iter().filter(|it| it.pool == pool).map(|it| it.holder));
        if !self.has_room(holder, limit, &held) {
            let at = self.longest_resting(holder, pool, hint);
            let at = at.ok_or(Short { why, want: Want::Port(pool), debtor: None })?;
            return Ok(self.mappings.remove(at).outer_port);
        }
        let port = hint.choice.expect("the engine did not give a port that was free");
        assert!(is_in_class(pool, port), "port {port} is not of its class");
        let protocol = [6, 6, 17, 17, 1][pool];
        assert!(!self.rules.forwards.iter().any(|it| (it.0, it.1) == (protocol, port)));
        let is_taken = |it: &Mapping| it.pool == pool && it.outer_port == port;
        assert!(!self.mappings.iter().any(is_taken), "port {port} is taken");
        Ok(port)
    }

    /// The mapping of `holder` that has rested longest in `pool`; of those that came to rest in the same second the one
    /// whose port the engine took.
    fn longest_resting(&self, holder: Holder, pool: usize, hint: &Hint) -> Option<usize> {
        let resting = self.resting(holder).filter(|(_, it)| it.pool == pool);
        let longest = resting.clone().map(|(_, it)| it.rests).min()?;
        let mut candidates = resting.filter(|(_, it)| it.rests == longest);
        let is_choice = |it: &(usize, &Mapping)| Some(it.1.outer_port) == hint.choice;
        candidates.clone().find(is_choice).or(candidates.next()).map(|(at, _)| at)
    }

    /// The same in any pool: of those that came to rest in the same second one of the first pool, that is gone.
    fn longest_resting_anywhere(&self, holder: Holder, hint: &Hint) -> Option<usize> {
        let order = |it: &Mapping| (it.rests, it.pool);
        let longest = self.resting(holder).map(|(_, it)| order(it)).min()?;
        let mut candidates = self.resting(holder).filter(|(_, it)| order(it) == longest);
        let is_gone = |it: &(usize, &Mapping)| !hint.held.contains(&(it.1.pool, it.1.outer_port));
        candidates.clone().find(is_gone).or(candidates.next()).map(|(at, _)| at)
    }

    fn resting(&self, holder: Holder) -> impl Iterator<Item = (usize, &Mapping)> + Clone {
        self.mappings.iter().enumerate().filter(move |(_, it)| it.holder == holder && it.rests.is_some())
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

    fn prohibited(why: DropReason) -> Expected {
        Expected::DropReason(why, Some((3, 13)))
    }

    /// A client's packet.
    pub fn outbound(&mut self, from: Slot, sent: &Sent, hint: &Hint) -> Expected {
        let Some(address) = self.address(from) else {
            return Expected::DropReason(DropReason::NoClient, None);
        };
        if sent.source.0 != address {
            return Expected::DropReason(DropReason::Spoofed, None);
        }
        if let Load::Tcp(segment) = sent.load
            && !segment.is_possible()
        {
            return Expected::DropReason(DropReason::TcpFlags, None);
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
        self.open_outward(from, sent, hint)
    }

    fn open_outward(&mut self, from: Slot, sent: &Sent, hint: &Hint) -> Expected {
        let (address, far) = (sent.source.0, sent.destination.0);
        if far == self.gateway || far == self.uplink {
            return match sent.load {
                Load::EchoRequest => Expected::Forward {
                    to: Place::Client(from),
                    source: (far, sent.source.1),
                    destination: sent.source,
                },
                Load::Tcp(_) | Load::Udp if far == self.uplink => {
                    Expected::DropReason(DropReason::Hairpin, None)
                }
                _ => Expected::DropReason(DropReason::ForFirewall, Some((3, 10))),
            };
        }
        let route = match self.slot(far) {
            Some(peer) if peer == from => return Expected::DropReason(DropReason::Martian, None),
            Some(peer) => Route::Between(peer),
            None => Route::Outward,
        };
        if sent.ttl <= 1 {
            return Expected::DropReason(DropReason::TtlExpired, Some((11, 0)));
        }
        let (near_port, far_port) = Self::ports(sent, true);
        let mut flow = self.new_flow(from, sent, near_port, far, far_port, route);
        if !self.is_allowed(&flow) {
            return Self::prohibited(DropReason::Rule);
        }
        match sent.load {
            Load::Tcp(segment) if !segment.opens() && segment.rst => {
                return Expected::DropReason(DropReason::TcpMidstream, None);
            }
            Load::Tcp(segment) if !segment.opens() => return Expected::Reset,
            Load::EchoReply => return Expected::DropReason(DropReason::EchoUnasked, None),
            _ => {}
        }
        if route == Route::Outward {
            let endpoint = (flow.protocol, address, near_port);
            let forward = self.rules.forwards.iter().find(|it| (it.0, it.2, it.3) == endpoint).map(|it| it.1);
            let free =
                forward.filter(|port| self.find_outside(flow.protocol, *port, (far, far_port)).is_none());
            if let Some(port) = free {
                (flow.outer_port, flow.by_forward) = (port, true);
            }
        }
        match self.make_room(&flow, hint) {
            Ok(0) => {}
            Ok(port) => flow.outer_port = port,
            Err(why) => return Self::prohibited(why),
        }
        if route == Route::Outward
            && self.find_outside(flow.protocol, flow.outer_port, (far, far_port)).is_some()
        {
            self.release(&flow);
            return Self::prohibited(DropReason::ProtocolBusy);
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
        let (protocol, listed) = (sent.load.protocol(), self.next_event());
        let payer = if route == Route::Forwarded { Holder::Uplink } else { self.holder(near) };
        let mut flow = Flow {
            near,
            protocol,
            near_port,
            far,
            far_port,
            outer_port: 0,
            route,
            by_forward: false,
            turns: 0,
            tcp,
            deadline: 0,
            payer,
            listed,
        };
        flow.deadline = self.now + flow.timeout();
        flow
    }

    /// A packet from the uplink.
    pub fn inbound(&mut self, sent: &Sent) -> Expected {
        if sent.destination.0 != self.uplink {
            return Expected::DropReason(DropReason::NotForUs, None);
        }
        if let Load::Tcp(segment) = sent.load
            && !segment.is_possible()
        {
            return Expected::DropReason(DropReason::TcpFlags, None);
        }
        if matches!(sent.load, Load::EchoRequest) {
            if sent.source.0 == self.uplink || self.slot(sent.source.0).is_some() {
                return Expected::DropReason(DropReason::InsideSource, None);
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
            return Expected::DropReason(DropReason::InsideSource, None);
        }
        match sent.load {
            Load::EchoReply => return Expected::DropReason(DropReason::EchoUnasked, None),
            Load::Udp => {}
            Load::Tcp(segment) if segment.opens() => {}
            _ => return Expected::DropReason(DropReason::Unsolicited, None),
        }
        let forward = self.rules.forwards.iter().find(|it| (it.0, it.1) == (protocol, port)).copied();
        let Some((near, near_port)) = forward.and_then(|it| Some((self.slot(it.2)?, it.3))) else {
            return Expected::DropReason(DropReason::Unsolicited, None);
        };
        if sent.ttl <= 1 {
            return Expected::DropReason(DropReason::TtlExpired, Some((11, 0)));
        }
        let mut flow = self.new_flow(near, sent, near_port, sent.source.0, far_port, Route::Forwarded);
        flow.outer_port = port;
        if let Some(at) = self.find_inside(near, protocol, near_port, (flow.far, far_port)) {
            let other = self.flows[at];
            let is_older = other.route == Route::Outward && !other.by_forward;
            if !is_older || other.tcp.is_some() && other.is_assured() {
                return Expected::DropReason(DropReason::ProtocolBusy, None);
            }
            self.end(at);
        }
        let none = Hint { choice: None, held: vec![] };
        if let Err(why) = self.make_room(&flow, &none) {
            return Expected::DropReason(why, None);
        }
        self.flows.push(flow);
        self.pass(self.flows.len() - 1, 1, sent).unwrap()
    }

    /// A packet on a flow; `None` when it opens a new connection and the flow was ended for it.
    fn pass(&mut self, at: usize, sender: usize, sent: &Sent) -> Option<Expected> {
        if sent.ttl <= 1 {
            return Some(Expected::DropReason(DropReason::TtlExpired, Some((11, 0))));
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
                Effect::Renounce => {
                    self.end(at);
                    return Some(Expected::DropReason(DropReason::TcpState, None));
                }
                Effect::Turn => return self.turn(at, sender, sent, &segment),
                Effect::Refuse => return Some(Expected::DropReason(DropReason::TcpState, None)),
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
        if was_assured != flow.is_assured() {
            flow.listed = event;
        }
        let flow = *flow;
        Some(self.destination_of(&flow, sender, sent))
    }

    /// A SYN of the end that did not open the flow.
    fn turn(&mut self, at: usize, sender: usize, sent: &Sent, syn: &Segment) -> Option<Expected> {
        let flow = self.flows[at];
        let near = self.address(flow.near).unwrap();
        let may_open = match flow.route {
            Route::Outward => self.rules.forwards.contains(&(6, flow.outer_port, near, flow.near_port)),
            Route::Forwarded => !self.rules.forbidden.contains(&(near, flow.far)),
            Route::Between(_) => self.rules.permits.contains(&(flow.far, near)),
        };
        let connection = flow.tcp.unwrap();
        if !may_open {
            return Some(Expected::DropReason(DropReason::TcpState, None));
        }
        if matches!(connection.stage, Stage::Reset | Stage::Finished { near: true, far: true }) {
            self.end(at);
            return None;
        }
        self.flows[at].tcp.as_mut().unwrap().remember(sender, syn);
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
