use super::*;
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::engine::{Progress, Settings};
use crate::guard::ruleset;
use crate::guard::ruling::RuledBy;
use crate::nat::ports::PoolKind;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4, protocol};
use crate::wire::packet::{Offload, Original};
use alloc::vec::Vec;
use core::net::SocketAddrV4;
use core::time::Duration;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 5);
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 139, 1, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 139, 1, 2);
const ALICE: ClientSlot = ClientSlot(1);

struct TestPacket(Vec<u8>);

impl Packet for TestPacket {
    fn header(&self) -> &[u8] {
        &self.0
    }

    fn header_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn total_bytes(&self) -> usize {
        self.0.len()
    }

    fn offload(&self) -> Offload {
        Offload::NONE
    }

    fn original(&self) -> Option<Original> {
        None
    }

    fn set_offload(&mut self, _: Offload) {}
}

/// What left: to whom, and the packet.
#[derive(Default)]
struct Recorder {
    replies: Vec<(Side, Vec<u8>)>,
    forwarded: Vec<Vec<u8>>,
    received: Vec<(OwnDatagram, Vec<u8>)>,
    dropped: Vec<DropReason>,
}

impl Output<TestPacket> for Recorder {
    fn admit(&mut self, _: Side, _: &mut TestPacket, _: &Ipv4) -> Result<(), DropReason> {
        Ok(())
    }

    fn forward(&mut self, _: Side, packet: TestPacket, _: Ipv4Addr) {
        self.forwarded.push(packet.0);
    }

    fn reply(&mut self, to: Side, packet: &[u8], _: Ipv4Addr) {
        self.replies.push((to, packet.to_vec()));
    }

    fn fragment(&mut self, _: Side, _: TestPacket, _: &Ipv4, _: u16) {}

    fn receive(&mut self, packet: TestPacket, datagram: OwnDatagram) {
        let payload = packet.0[datagram.begin.into()..datagram.end.into()].to_vec();
        self.received.push((datagram, payload));
    }

    fn discard(&mut self, _: TestPacket, why: DropReason) {
        self.dropped.push(why);
    }
}

/// A firewall with one client, and its names.
struct World {
    engine: Engine<TestPacket>,
    names: NameService,
    now: Moment,
}

/// A question that left.
struct Asked {
    port: u16,
    server: Ipv4Addr,
    message: Vec<u8>,
}

impl World {
    fn new(rules: &str) -> Self {
        let now = Moment::from_nanoseconds(1_000_400_000_000);
        let mut world = Self {
            engine: Engine::new(Settings::for_memory(16 << 20, OURS), table(rules), [7; 32], now),
            names: NameService::new((1, 2)),
            now,
        };
        world.engine.attach(ALICE, CLIENT, now);
        world.names.set_names(&world.engine, now);
        world.names.set_servers(&[FIRST, SECOND], now);
        world
    }

    fn set_rules(&mut self, rules: &str) {
        self.engine.set_rules(table(rules), self.now);
        self.names.set_names(&self.engine, self.now);
    }

    /// Lets time pass; the questions that leave meanwhile.
    fn wait(&mut self, span: Duration) -> Vec<Asked> {
        self.now = self.now + span;
        let mut recorder = Recorder::default();
        while self.engine.advance(self.now, &mut recorder) == Progress::MoreToDo {}
        // As the data plane does.
        if self.names.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.names.advance(&mut self.engine, &mut recorder, self.now);
        }
        recorder.replies.iter().map(|(to, packet)| read_question(*to, packet)).collect()
    }

    fn asked(&mut self) -> Asked {
        let mut asked = self.wait(Duration::ZERO);
        assert_eq!(asked.len(), 1);
        asked.remove(0)
    }

    /// A datagram comes from the uplink. Why it was dropped, if it was.
    fn uplink(&mut self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Option<DropReason> {
        let mut recorder = Recorder::default();
        self.engine.inbound(self.now, datagram(from, to, payload), &mut recorder);
        for (datagram, payload) in &recorder.received {
            self.names.receive(*datagram, payload, self.now);
        }
        self.wait(Duration::ZERO);
        recorder.dropped.pop()
    }

    fn answer(&mut self, asked: &Asked, last: &[u8]) {
        let (from, to) = (SocketAddrV4::new(asked.server, 53), SocketAddrV4::new(OURS, asked.port));
        assert_eq!(self.uplink(from, to, &addresses(asked, last)), None);
    }

    /// Whether a datagram of the client's to this address passes; each from a port of its own is a new flow.
    fn passes(&mut self, port: u16, last: u8) -> bool {
        let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), 443);
        let mut recorder = Recorder::default();
        let packet = datagram(SocketAddrV4::new(CLIENT, port), to, b"x");
        self.engine.outbound(self.now, ALICE, packet, &mut recorder);
        recorder.forwarded.len() == 1
    }
}

fn table(rules: &str) -> crate::guard::RuleTable {
    let (table, problems) = ruleset::read(rules.as_bytes(), &[FIRST, SECOND]);
    assert_eq!(problems.list, []);
    table
}

/// What the resolver sends is checked here as its receiver would.
fn read_question(to: Side, packet: &[u8]) -> Asked {
    let ip = Ipv4::read(packet, packet.len()).unwrap();
    assert_eq!((to, ip.source, ip.protocol), (Side::Uplink, OURS, protocol::UDP));
    let datagram = &packet[20..];
    let sum = Sum::ZERO.pseudo_header(ip.source, ip.destination, protocol::UDP, datagram.len() as u16);
    assert!(sum.bytes(datagram).verifies());
    assert_eq!(datagram[2..6], [0, 53, 0, datagram.len() as u8]);
    let port = u16::from_be_bytes([datagram[0], datagram[1]]);
    Asked { port, server: ip.destination, message: datagram[8..].to_vec() }
}

fn datagram(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> TestPacket {
    let mut bytes = Vec::from([0; 28]);
    bytes.extend(payload);
    let total = bytes.len();
    bytes[20..22].copy_from_slice(&from.port().to_be_bytes());
    bytes[22..24].copy_from_slice(&to.port().to_be_bytes());
    bytes[24..26].copy_from_slice(&(total as u16 - 20).to_be_bytes());
    let sum = Sum::ZERO.pseudo_header(*from.ip(), *to.ip(), protocol::UDP, total as u16 - 20);
    let sum = sum.bytes(&bytes[20..]).checksum();
    bytes[26..28].copy_from_slice(&sum.to_be_bytes());
    crate::route::icmp_error::write_ip(&mut bytes, total, 0, protocol::UDP, *from.ip(), *to.ip());
    TestPacket(bytes)
}

fn addresses(asked: &Asked, last: &[u8]) -> Vec<u8> {
    let mut bytes = asked.message.clone();
    (bytes[2], bytes[3], bytes[7]) = (0x81, 0x80, last.len() as u8);
    for last in last {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, *last]);
    }
    bytes
}

const ACCEPT: &str = "[default]\naction=accept dsthost=www.example\n";
const DROP: &str = "[default]\naction=drop dsthost=www.example\naction=accept\n";

#[test]
fn q_6_a_question_leaves_by_the_uplink_and_its_answer_makes_the_rule_match() {
    let mut world = World::new(ACCEPT);
    assert!(!world.passes(1000, 1));
    let asked = world.asked();
    assert_eq!(asked.server, FIRST);
    world.answer(&asked, &[1, 2]);
    assert!(world.passes(1000, 1) && world.passes(1001, 2) && !world.passes(1002, 3));
    let resolved = world.names.next_resolved().unwrap();
    assert_eq!((resolved.text(), world.names.next_resolved()), ("www.example", None));
    let known = world.engine.engine().rules().names().of(&resolved);
    assert_eq!(known, [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)]);
}

#[test]
fn q_6_a_forged_answer_opens_nothing() {
    let mut world = World::new(ACCEPT);
    let asked = world.asked();
    let right = addresses(&asked, &[1]);
    let mut other_number = right.clone();
    other_number[1] ^= 1;
    let ours = SocketAddrV4::new(OURS, asked.port);
    let server = SocketAddrV4::new(FIRST, 53);
    assert_eq!(world.uplink(server, ours, &other_number), None);
    assert_eq!(world.uplink(SocketAddrV4::new(SECOND, 53), ours, &right), None);
    assert_eq!(world.uplink(SocketAddrV4::new(FIRST, 5353), ours, &right), None);
    assert_eq!(world.uplink(SocketAddrV4::new(CLIENT, 53), ours, &right), Some(DropReason::InsideSource));
    let other_port = SocketAddrV4::new(OURS, asked.port ^ 1);
    assert_eq!(world.uplink(server, other_port, &right), Some(DropReason::Unsolicited));
    assert!(!world.passes(1000, 1));
    world.answer(&asked, &[1]);
    assert!(world.passes(1000, 1));
    // Its port is nobody's any more.
    assert_eq!(world.uplink(server, ours, &right), Some(DropReason::Unsolicited));
}

#[test]
fn q_6_an_answer_that_is_broken_on_the_way_is_not_taken() {
    let mut world = World::new(ACCEPT);
    let asked = world.asked();
    let (from, to) = (SocketAddrV4::new(FIRST, 53), SocketAddrV4::new(OURS, asked.port));
    let mut packet = datagram(from, to, &addresses(&asked, &[1]));
    *packet.0.last_mut().unwrap() = 9;
    let mut recorder = Recorder::default();
    world.engine.inbound(world.now, packet, &mut recorder);
    assert_eq!((recorder.received.len(), recorder.dropped), (0, [DropReason::UdpHeader].into()));
    let mut packet = datagram(from, to, &addresses(&asked, &[1]));
    packet.0[ipv4::at::FRAGMENT] = 0x20;
    packet.0[ipv4::at::CHECKSUM..][..2].copy_from_slice(&[0, 0]);
    let sum = crate::wire::checksum::of(&packet.0[..20]);
    packet.0[ipv4::at::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
    let mut recorder = Recorder::default();
    world.engine.inbound(world.now, packet, &mut recorder);
    assert_eq!(recorder.received.len(), 0);
}

#[test]
fn q_6_a_name_is_asked_for_again_before_its_time_is_over() {
    let mut world = World::new(ACCEPT);
    let asked = world.asked();
    world.answer(&asked, &[1]);
    assert!(world.wait(Duration::from_secs(190)).is_empty());
    let again = world.wait(Duration::from_secs(66));
    assert_eq!(again.len(), 1);
    world.answer(&again[0], &[2]);
    assert!(world.passes(1000, 1) && world.passes(1000, 2), "an address counts for some minutes at least");
}

#[test]
fn q_6_while_servers_are_silent_addresses_count_for_some_minutes_and_both_are_asked() {
    let mut world = World::new(ACCEPT);
    let asked = world.asked();
    world.answer(&asked, &[1]);
    let mut servers = Vec::new();
    for _ in 0..500 {
        servers.extend(world.wait(Duration::from_secs(1)).into_iter().map(|asked| asked.server));
    }
    assert!(servers.contains(&FIRST) && servers.contains(&SECOND) && servers.len() < 40, "{servers:?}");
    assert!(world.passes(1000, 1));
    (0..200).for_each(|_| assert!(world.wait(Duration::from_secs(1)).len() <= 1));
    assert!(!world.passes(1001, 1));
}

#[test]
fn q_6_a_flow_goes_on_when_its_address_is_no_more_that_of_the_name() {
    let mut world = World::new(ACCEPT);
    let asked = world.asked();
    world.answer(&asked, &[1]);
    assert!(world.passes(1000, 1));
    for _ in 0..35 {
        for asked in world.wait(Duration::from_secs(20)) {
            world.answer(&asked, &[2]);
        }
        assert!(world.passes(1000, 1));
    }
    assert!(!world.passes(1001, 1) && world.passes(1001, 2));
    // Judged again, too.
    world.set_rules("[default]\naction=drop proto=tcp\naction=accept dsthost=www.example\n");
    world.wait(Duration::from_secs(1));
    assert!(world.passes(1000, 1) && !world.passes(1001, 1));
    world.set_rules("[default]\naction=drop\n");
    assert!(!world.passes(1000, 1));
}

#[test]
fn q_6_a_former_address_is_remembered_while_there_are_flows_to_it() {
    let mut world = World::new(ACCEPT);
    let asked = world.asked();
    world.answer(&asked, &[1, 3]);
    assert!(world.passes(1000, 1));
    for _ in 0..100 {
        for asked in world.wait(Duration::from_secs(20)) {
            world.answer(&asked, &[2]);
        }
        assert!(world.passes(1000, 1));
    }
    world.set_rules("[default]\naction=accept dsthost=www.example\naction=accept\n");
    assert!(world.passes(2000, 3));
    world.set_rules(ACCEPT);
    assert!(world.passes(1000, 1) && !world.passes(2000, 3));
}

/// The rules of `count` names.
fn rules_of_names(count: usize) -> alloc::string::String {
    let rules = (0..count).map(|number| alloc::format!("action=accept dsthost=n{number}.example\n"));
    alloc::format!("[default]\n{}", rules.collect::<alloc::string::String>())
}

/// Answers what is asked, and what comes of it; the names that people are told of in each turn.
fn answer_all(world: &mut World, mut asked: Vec<Asked>, last: u8) -> Vec<Vec<HostName>> {
    let mut told = Vec::new();
    for _ in 0..40 {
        for asked in asked {
            let from = SocketAddrV4::new(asked.server, 53);
            let datagram = OwnDatagram { from, port: asked.port, begin: 0, end: 0 };
            world.names.receive(datagram, &addresses(&asked, &[last]), world.now);
        }
        asked = world.wait(Duration::ZERO);
        told.push(core::iter::from_fn(|| world.names.next_resolved()).collect());
    }
    told
}

#[test]
fn q_6_people_are_told_of_every_name_some_in_a_turn_and_not_as_often_as_its_owner_likes() {
    let mut world = World::new(&rules_of_names(20));
    let asked = world.wait(Duration::ZERO);
    let told = answer_all(&mut world, asked, 1);
    assert!(told.iter().all(|turn| turn.len() <= MAX_TOLD));
    let mut all = told.concat();
    all.sort();
    all.dedup();
    assert_eq!((all.len(), told.concat().len()), (20, 20));

    let asked = world.wait(Duration::from_secs(256));
    assert_eq!(answer_all(&mut world, asked, 2).concat(), [], "they were told just before");
    let asked = world.wait(Duration::from_secs(45));
    let told = answer_all(&mut world, asked, 3);
    assert!(told.iter().all(|turn| turn.len() <= MAX_TOLD));
    assert_eq!(told.concat().len(), 20);
    // With other rules others may have these names.
    world.set_rules(&rules_of_names(12));
    let asked = world.wait(Duration::ZERO);
    assert_eq!(answer_all(&mut world, asked, 3).concat().len(), 12);
}

#[test]
fn q_6_names_that_lapse_at_once_are_taken_out_some_in_a_turn() {
    let mut world = World::new(&rules_of_names(20));
    let asked = world.wait(Duration::ZERO);
    answer_all(&mut world, asked, 1);
    let left = |world: &World| {
        let names = world.engine.engine().rules().names();
        names.wanted().filter(|name| !names.of(&name.host).is_empty()).count()
    };
    assert_eq!(left(&world), 20);
    for expected in [12, 4, 0] {
        world.wait(if expected == 12 { Duration::from_secs(601) } else { Duration::ZERO });
        assert_eq!(left(&world), expected);
    }
}

#[test]
fn q_6_a_name_in_a_drop_blocks_its_source_until_it_is_resolved() {
    let mut world = World::new(DROP);
    assert!(!world.passes(1000, 9));
    assert_eq!(world.engine.engine().rules().count_of(RuledBy::BlockedSection), 1);
    let asked = world.asked();
    world.answer(&asked, &[1]);
    assert!(!world.passes(1000, 1) && world.passes(1000, 9));
}

#[test]
fn q_6_a_refused_name_that_stands_for_nothing_blocks_nobody() {
    let mut world = World::new(DROP);
    let asked = world.asked();
    let mut nothing = asked.message.clone();
    (nothing[2], nothing[3]) = (0x81, 0x83);
    let (from, to) = (SocketAddrV4::new(asked.server, 53), SocketAddrV4::new(OURS, asked.port));
    assert_eq!(world.uplink(from, to, &nothing), None);
    assert!(world.passes(1000, 9));
    (0..60).for_each(|_| drop(world.wait(Duration::from_secs(1))));
    assert_eq!(world.names.next_blocking(), None);
}

#[test]
fn q_6_a_name_that_blocks_is_told_once_with_whom_it_blocks() {
    for servers in [&[][..], &[FIRST, SECOND]] {
        let mut world =
            World::new("[client 10.137.0.5]\naction=drop dsthost=www.example\naction=accept dsthost=b\n");
        world.names.set_servers(servers, world.now);
        assert_eq!(world.names.next_blocking(), None);
        let mut told = Vec::new();
        for _ in 0..600 {
            world.wait(Duration::from_secs(1));
            told.extend(world.names.next_blocking());
        }
        let client = RuleOwners::Clients { first: "10.137.0.5/32".parse().unwrap(), more: 0 };
        assert_eq!(told, [(HostName::parse("www.example").unwrap(), client)]);
        assert!(!world.passes(1000, 9));
    }
}

#[test]
fn q_6_a_flow_goes_on_while_a_refused_name_is_not_known_and_ends_when_it_stands_for_its_address() {
    let mut world = World::new("[default]\naction=accept\n");
    assert!(world.passes(1000, 9) && world.passes(1001, 8));
    world.set_rules(DROP);
    let asked = world.asked();
    assert!(world.passes(1000, 9) && world.passes(1001, 8) && !world.passes(1002, 8));
    world.answer(&asked, &[9]);
    assert!(!world.passes(1000, 9) && world.passes(1001, 8) && world.passes(1002, 8));
}

#[test]
fn q_6_flows_to_a_new_address_of_a_name_that_is_refused_end() {
    let mut world = World::new(DROP);
    let asked = world.asked();
    world.answer(&asked, &[1]);
    assert!(world.passes(1000, 9) && world.passes(1000, 8));
    let asked = loop {
        let asked = world.wait(Duration::from_secs(10)).pop();
        // Both flows are used meanwhile.
        assert!(world.passes(1000, 9) && world.passes(1000, 8));
        if let Some(asked) = asked {
            break asked;
        }
    };
    world.answer(&asked, &[9]);
    assert!(!world.passes(1000, 9) && world.passes(1000, 8));
}

#[test]
fn q_6_what_a_name_stands_for_outlives_a_change_of_rules() {
    let mut world = World::new(ACCEPT);
    let asked = world.asked();
    world.answer(&asked, &[1]);
    world.set_rules("[default]\naction=accept proto=udp dstports=443 dsthost=www.example\naction=drop\n");
    assert!(world.passes(1000, 1));
    assert!(world.wait(Duration::ZERO).is_empty());
}

#[test]
fn q_6_other_servers_are_asked_at_once() {
    let mut world = World::new(ACCEPT);
    assert_eq!(world.asked().server, FIRST);
    world.names.set_servers(&[SECOND], world.now);
    assert_eq!(world.asked().server, SECOND);
    world.names.set_servers(&[], world.now);
    assert!(world.wait(Duration::from_secs(60)).is_empty());
    assert_eq!(world.names.deadline(), None);
}

#[test]
fn q_6_the_port_of_a_question_is_nobody_else_s_while_it_is_open() {
    let mut world = World::new(ACCEPT);
    let free = |world: &World| world.engine.engine().mappings().free(PoolKind::UdpHigh);
    let before = free(&world);
    let asked = world.asked();
    assert_eq!(free(&world), before - 1);
    // Nor after the pools have been filled anew.
    world.set_rules("[default]\naction=accept dsthost=www.example\n[forward]\nproto=udp dstports=700-700 to=10.137.0.5:1\n");
    assert_eq!(free(&world), before - 1);
    world.answer(&asked, &[1]);
    assert_eq!(free(&world), before);
}
