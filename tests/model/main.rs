//! The engine against the model: random events with clock jumps, every verdict and every header compared.
//!
//! In each of three worlds there are `RAVELIN_MODEL_EVENTS` events, or 400,000, from `RAVELIN_MODEL_SEED` on, or 0:
//! the same numbers give the same events. `make model` runs millions, optimised.
#![allow(missing_docs)]

mod convert;
mod reference;
#[path = "../support/mod.rs"]
mod support;
mod tcp;

use convert::{ends_of, packet_of, table_of};
use ravelin::base::side::{ClientSlot, Side};
use ravelin::engine::Settings;
use ravelin::flow::key::FlowKey;
use ravelin::guard::RuleTable;
use ravelin::nat::ports::PoolKind;
use ravelin::tables::slab::Id;
use reference::{Expected, Hint, Limits, Load, Model, Place, Rules, Sent};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;
use support::*;
use tcp::Segment;

const CLIENTS: [Ipv4Addr; 4] = [C1, C2, Ipv4Addr::new(10, 137, 0, 13), Ipv4Addr::new(10, 137, 0, 14)];
const REMOTES: [Ipv4Addr; 4] = [R, S, Ipv4Addr::new(192, 0, 2, 77), Ipv4Addr::new(10, 137, 0, 14)];
const REMOTE_PORTS: [u16; 3] = [53, 80, 4500];
const INNER_PORTS: [u16; 6] = [500, 1023, 1024, 5000, 40_000, 65_535];
const FORWARDED: [u16; 3] = [700, 8080, 8081];
const UPLINKS: [Ipv4Addr; 2] = [F, Ipv4Addr::new(203, 0, 113, 99)];

/// A TCP conversation that may or may not be known to the firewall: where its two ends are.
#[derive(Clone, Copy)]
struct Numbers {
    next: [i64; 2],
}

struct Trial {
    random: Random,
    world: World,
    model: Model,
    numbers: Numbers,
    /// Whether the engine is always told of the time at once.
    attended: bool,
}

impl Trial {
    fn new(seed: u64, limits: Limits, attended: bool) -> Trial {
        let mut settings = Settings { client_gateway: G, ..Settings::for_memory(16 << 20, F) };
        settings.flows = limits.flows;
        settings.mappings = limits.mappings;
        settings.quotas.flows_per_client = limits.flows_per_client;
        settings.quotas.ports_per_client = limits.ports_per_client;
        let quotas = &mut settings.quotas;
        for rate in [&mut quotas.new_flows, &mut quotas.errors, &mut quotas.resets, &mut quotas.uplink_pings]
        {
            rate.per_second = 1_000_000_000;
            rate.burst = 1_000_000_000;
        }
        let world = World::with(settings, RuleTable::allow_all());
        let now = world.now.as_nanoseconds() / 1_000_000_000;
        let mut model = Model::new(F, G, limits, now);
        model.attach(1, C1);
        model.attach(2, C2);
        let random = Random::new(seed);
        let mut trial =
            Trial { random, world, model, numbers: Numbers { next: [0xFFFF_FF00, 0x7FFF_FF80] }, attended };
        trial.change_rules();
        trial
    }

    fn run(&mut self, events: u64) {
        for event in 0..events {
            self.pass_time();
            match self.random.below(1000) {
                0..2 => self.change_rules(),
                2..5 => self.change_clients(),
                5 => self.change_uplink(),
                6..40 => self.error(),
                40..550 => self.client_sends(),
                _ => self.uplink_sends(),
            }
            if event % 997 == 0 {
                self.check_books();
            }
        }
        self.check_books();
    }

    fn pass_time(&mut self) {
        let seconds = match self.random.below(1000) {
            0..800 => 0,
            800..960 => self.random.below(4),
            960..990 => self.random.below(70),
            990..997 => self.random.below(400),
            997..999 => self.random.below(8_000),
            _ => self.random.below(400_000),
        };
        self.world.now = self.world.now + Duration::from_secs(seconds);
        self.model.now += seconds;
        if self.attended || self.random.one_in(3) {
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.world.advance();
        self.model.advance();
    }

    fn change_rules(&mut self) {
        let mut rules = Rules::default();
        for client in CLIENTS {
            for remote in REMOTES {
                if self.random.one_in(6) {
                    rules.forbidden.push((client, remote));
                }
            }
            for other in CLIENTS {
                if self.random.one_in(2) {
                    rules.permits.push((client, other));
                }
            }
        }
        for port in FORWARDED {
            for protocol in [6, 17] {
                if self.random.one_in(2) {
                    let client_port = self.random.pick(&INNER_PORTS);
                    rules.forwards.push((protocol, port, self.random.pick(&CLIENTS), client_port));
                }
            }
        }
        self.world.engine.set_rules(table_of(&rules), self.world.now);
        self.model.set_rules(rules);
        self.advance();
    }

    fn change_clients(&mut self) {
        let slot = 1 + self.random.below(4) as u8;
        let address = if self.random.one_in(2) { None } else { Some(self.random.pick(&CLIENTS)) };
        match address {
            None => self.world.engine.detach(ClientSlot(slot), self.world.now),
            Some(address) => {
                self.world.engine.attach(ClientSlot(slot), address, self.world.now);
            }
        }
        // What others had with a client that left, and what nobody meets any more, goes within a second: its ports rest
        // from then on.
        self.world.now = self.world.now + Duration::from_secs(1);
        self.model.now += 1;
        match address {
            None => self.model.detach(slot),
            Some(address) => self.model.attach(slot, address),
        }
        self.advance();
    }

    fn change_uplink(&mut self) {
        let address = self.random.pick(&UPLINKS);
        self.world.engine.set_uplink_address(address);
        self.model.set_uplink(address);
        self.advance();
    }

    /// What a packet between two ends carries; `end` is 0 for the client's.
    fn load(&mut self, end: usize) -> Load {
        match self.random.below(10) {
            0..5 => Load::Tcp(self.segment(end)),
            5..7 => Load::Udp,
            7 => Load::EchoRequest,
            8 => Load::EchoReply,
            _ => Load::Other(self.random.pick(&[47, 50])),
        }
    }

    fn segment(&mut self, end: usize) -> Segment {
        let letters = self.random.pick(&["S", "SA", "A", "A", "A", "A", "FA", "R", "RA", "S", "SF", "F", ""]);
        let has = |letter| letters.contains(letter);
        let jitter = match self.random.below(12) {
            0 => -1,
            1 => -70_000,
            2 => 8_192,
            3 => 8_194,
            4 => 0x4000_0000,
            _ => 0,
        };
        let ack_jitter =
            if self.random.one_in(10) { self.random.pick(&[1, -1, -100, 0x4000_0000]) } else { 0 };
        let data = match (has('A'), has('S')) {
            (true, false) => self.random.pick(&[0, 0, 1, 100]),
            // TCP Fast Open.
            (false, true) => self.random.pick(&[0, 0, 0, 100]),
            _ => 0,
        };
        let segment = Segment {
            syn: has('S'),
            ack: has('A'),
            fin: has('F'),
            rst: has('R'),
            sequence: self.numbers.next[end] + jitter,
            acknowledgement: self.numbers.next[1 - end] + ack_jitter,
            data,
        };
        if jitter == 0 && !segment.rst {
            self.numbers.next[end] = segment.end();
        }
        segment
    }

    fn ports_for(&mut self, load: &Load, source: u16, destination: u16) -> (u16, u16) {
        match load {
            Load::EchoRequest | Load::EchoReply => (source, source),
            Load::Other(_) => (0, 0),
            _ => (source, destination),
        }
    }

    fn ttl(&mut self) -> u8 {
        if self.random.one_in(60) { 1 } else { 64 }
    }

    fn client_sends(&mut self) {
        let slot = 1 + self.random.below(4) as u8;
        let address = if self.random.one_in(50) { None } else { self.model.address(slot) };
        let source = address.unwrap_or(self.random.pick(&CLIENTS));
        let load = self.load(0);
        let destination = match self.random.below(40) {
            0 => G,
            1 => self.model.uplink,
            2..10 => self.random.pick(&CLIENTS),
            _ => self.random.pick(&REMOTES),
        };
        let (mut inner, mut outer) = (self.random.pick(&INNER_PORTS), self.random.pick(&REMOTE_PORTS));
        // As an answer to another client, or to somebody on the uplink.
        if self.random.one_in(6) {
            std::mem::swap(&mut inner, &mut outer);
        }
        let (source_port, destination_port) = self.ports_for(&load, inner, outer);
        let ttl = self.ttl();
        let sent =
            Sent { source: (source, source_port), destination: (destination, destination_port), load, ttl };
        let out = self.world.client(ClientSlot(slot), packet_of(&sent));
        let choice = out.iter().find_map(|out| match out {
            Out::Forward(Side::Uplink, packet) => Some(ends_of(packet).0.1),
            _ => None,
        });
        let mappings = self.world.engine.engine().mappings();
        let held = match mappings.len() {
            0..64 => mappings.iter().map(|(_, it)| (it.pool().position(), it.outer_port())).collect(),
            _ => Vec::new(),
        };
        let expected = self.model.outbound(slot, &sent, &Hint { choice, held });
        self.compare(&sent, expected, &out);
    }

    fn uplink_sends(&mut self) {
        let load = self.load(1);
        let known =
            self.model.flows.iter().filter(|flow| !matches!(flow.route, reference::Route::Between(_)));
        let known: Vec<_> = known.copied().collect();
        let aimed =
            if known.is_empty() || self.random.one_in(4) { None } else { Some(self.random.pick(&known)) };
        let uplink = if self.random.one_in(100) { UPLINKS[1] } else { self.model.uplink };
        let (source, source_port, port, load) = match aimed {
            Some(flow) => {
                let load = match flow.protocol {
                    6 => Load::Tcp(self.segment(1)),
                    17 => Load::Udp,
                    1 => Load::EchoReply,
                    protocol => Load::Other(protocol),
                };
                (flow.far, flow.far_port, flow.outer_port, load)
            }
            None => {
                let port = self.random.pick(&[700, 8080, 8081, 1500]);
                (self.random.pick(&REMOTES), self.random.pick(&REMOTE_PORTS), port, load)
            }
        };
        let (source_port, port) = match load {
            Load::EchoRequest | Load::EchoReply => (port, port),
            _ => self.ports_for(&load, source_port, port),
        };
        let ttl = self.ttl();
        let sent = Sent { source: (source, source_port), destination: (uplink, port), load, ttl };
        let out = self.world.uplink(packet_of(&sent));
        let expected = self.model.inbound(&sent);
        self.compare(&sent, expected, &out);
    }

    /// An ICMP error about a packet of a flow that is not TCP (sequence numbers have tests of their own).
    fn error(&mut self) {
        let known: Vec<_> = self.model.flows.iter().filter(|flow| flow.tcp.is_none()).copied().collect();
        if known.is_empty() {
            return;
        }
        let flow = self.random.pick(&known);
        if matches!(flow.route, reference::Route::Between(_)) {
            return;
        }
        let load = match flow.protocol {
            17 => Load::Udp,
            1 => Load::EchoRequest,
            protocol => Load::Other(protocol),
        };
        let near = (self.model.address(flow.near).unwrap(), flow.near_port);
        let outer = (self.model.uplink, flow.outer_port);
        let is_ping = flow.protocol == 1;
        let far_of = |port| (flow.far, if is_ping { port } else { flow.far_port });
        let inside = Sent { source: near, destination: far_of(near.1), load, ttl: 60 };
        let outside = Sent { source: outer, destination: far_of(outer.1), load, ttl: 60 };
        let alive = flow.deadline >= self.model.now;
        let quoted = 28 + self.random.below(30) as usize;
        let out = self.world.uplink(icmp_error(R, self.model.uplink, 3, 1, &packet_of(&outside), quoted));
        let wanted = icmp_error(R, near.0, 3, 1, &packet_of(&inside), quoted).ttl_of(63);
        match out.as_slice() {
            [Out::Forward(Side::Client(slot), packet)] if alive => {
                assert_eq!((slot.0, &packet.bytes), (flow.near, &wanted.bytes));
            }
            [Out::Discard(ravelin::base::drop_reason::DropReason::InsideSource)]
                if self.model.slot(R).is_some() => {}
            [Out::Discard(ravelin::base::drop_reason::DropReason::QuoteUnknown)] if !alive => {
                // The engine has ended it now.
                let far = (flow.far, flow.far_port);
                assert!(self.model.find_outside(flow.protocol, flow.outer_port, far).is_none());
            }
            other => panic!("{flow:?}: {other:?}"),
        }
    }

    fn compare(&self, sent: &Sent, expected: Expected, out: &[Out]) {
        let answered = |bytes: &[u8]| {
            let answer = TestPacket::new(bytes.to_vec());
            answer.assert_sums();
            assert_eq!(answer.destination(), sent.source.0);
            answer
        };
        let matches = match (expected, out) {
            (Expected::Forward { to, source, destination }, [Out::Forward(side, packet)]) => {
                packet.assert_sums();
                let side = match side {
                    Side::Uplink => Place::Uplink,
                    Side::Client(slot) => Place::Client(slot.0),
                };
                side == to && ends_of(packet) == (source, destination)
            }
            (Expected::DropReason(why, None), [Out::Discard(reason)]) => *reason == why,
            (Expected::DropReason(why, Some(error)), [Out::Answer(_, bytes), Out::Discard(reason)]) => {
                let answer = answered(bytes);
                *reason == why && (answer.icmp_kind(), answer.icmp_code()) == error
            }
            (
                Expected::Reset,
                [Out::Answer(_, bytes), Out::Discard(ravelin::base::drop_reason::DropReason::TcpMidstream)],
            ) => answered(bytes).protocol() == 6,
            _ => false,
        };
        assert!(matches, "at {}: {sent:?}\nexpected {expected:?}\ngot {out:?}", self.model.now);
    }

    /// What must hold at any time.
    fn check_books(&self) {
        let engine = self.world.engine.engine();
        assert_eq!(engine.flows().len(), self.model.flows.len());
        assert_eq!(engine.mappings().len(), self.model.mappings.len());
        assert!(engine.flows().len() <= self.model.limits.flows as usize);
        assert_eq!((engine.places().fault(engine.flows().len()), engine.mappings().fault()), (None, None));
        let ids = (0..engine.flows().extent()).filter_map(|position| engine.flows().id_at(position));
        let mut names = BTreeSet::new();
        let mut owners = std::collections::BTreeMap::new();
        for id in ids {
            let _: Id<_> = id;
            let flow = engine.flows().get(id).unwrap();
            if let Some(name) = FlowKey::external(flow) {
                assert!(names.insert((name.protocol, name.port, name.far, name.far_port)), "{name:?} twice");
            }
            if flow.mapping.is_some() {
                let owner =
                    owners.entry((flow.protocol, flow.outer_port)).or_insert((flow.near, flow.near_port));
                assert_eq!(*owner, (flow.near, flow.near_port), "an outer port serves two endpoints");
            }
        }
        for kind in PoolKind::ALL {
            let own = if kind == PoolKind::TcpHigh || kind == PoolKind::UdpHigh { 128 } else { 0 };
            let used: BTreeSet<u16> = self
                .model
                .mappings
                .iter()
                .filter(|mapping| mapping.pool == kind.position())
                .map(|mapping| mapping.outer_port)
                .collect();
            let forwarded: BTreeSet<u16> = self
                .model
                .rules
                .forwards
                .iter()
                .filter(|forward| forward.0 == kind.protocol() && kind.range().contains(&forward.1))
                .map(|forward| forward.1)
                .collect();
            let unavailable = used.union(&forwarded).count() + own;
            assert_eq!(engine.mappings().free(kind) + unavailable, kind.range().count(), "{kind:?}");
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Four runs of a world.
fn run_all(first_seed: u64, limits: Limits, attended: bool) {
    let events = variable("RAVELIN_MODEL_EVENTS").unwrap_or(400_000);
    let first_seed = first_seed + variable("RAVELIN_MODEL_SEED").unwrap_or(0);
    for seed in first_seed..first_seed + 4 {
        println!("seed {seed}: {} events", events / 4);
        Trial::new(seed, limits, attended).run(events / 4);
    }
}

#[test]
fn the_engine_agrees_with_the_model_when_everything_is_scarce() {
    let limits = Limits { flows: 24, flows_per_client: 10, mappings: 16, ports_per_client: 4 };
    run_all(1, limits, true);
}

#[test]
fn the_engine_agrees_with_the_model_when_there_is_plenty() {
    let limits = Limits { flows: 4096, flows_per_client: 4096, mappings: 4096, ports_per_client: 4096 };
    run_all(11, limits, true);
}

#[test]
fn the_engine_agrees_with_the_model_when_it_is_seldom_told_the_time() {
    let limits = Limits { flows: 4096, flows_per_client: 4096, mappings: 4096, ports_per_client: 4096 };
    run_all(21, limits, false);
}
