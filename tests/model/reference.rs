//! The firewall as plainly as it can be said: lists that are searched from end to end.
//!
//! It knows no hash, no wheel, no slab and no sequence number that wraps. The one thing it cannot foresee is which
//! outer port the engine picks; it is told, and checks that the pick was allowed.

mod packets;
mod room;

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
    /// The last second that its opener used it; if assured or of TCP, anybody.
    pub used: u64,
    /// Who pays for it.
    pub payer: Holder,
    /// When it joined those that may be sacrificed, or was used again as one of them, or joined those that may not; by a
    /// count of such events.
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

    // Packets.
}
