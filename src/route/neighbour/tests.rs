//! What the table does for packets, and what hosts and senders can do to it.

mod scans;

use self::Event::*;
use super::*;
use crate::base::side::ClientSlot;
use core::time::Duration;
use std::vec;
use std::vec::Vec;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const FALLBACK: Mac = Mac([0xfe; 6]);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const MOVED: Mac = Mac([2, 0, 0, 0, 0, 10]);
const ONE: Account = Account::client(ClientSlot(1));
const TWO: Account = Account::client(ClientSlot(2));

/// A sender's packet with a number, of so many pages.
#[derive(Clone, Copy, Debug)]
struct TestPacket(Account, usize, u32);

impl PartialEq<u32> for TestPacket {
    fn eq(&self, number: &u32) -> bool {
        self.2 == *number
    }
}

impl Charged for TestPacket {
    fn account(&self) -> Account {
        self.0
    }

    fn pages(&self) -> usize {
        self.1
    }
}

/// What the table did, with packets' numbers only.
#[derive(Debug, PartialEq, Eq)]
enum Event<N> {
    Ask(Ipv4Addr),
    Send(Mac, N),
    Unreachable(N),
    Displaced(N),
    Abandoned(N),
}

/// What the table did, and whether questions can be sent.
struct Record(Vec<Event<u32>>, Solicited);

impl NeighbourOutput<TestPacket> for Record {
    fn ask(&mut self, hop: Ipv4Addr, _: Account) -> Solicited {
        self.0.push(Ask(hop));
        self.1
    }

    fn emit(&mut self, event: super::NeighbourEffect<TestPacket>) {
        self.0.push(match event {
            super::NeighbourEffect::Send(mac, packet) => Send(mac, packet.2),
            super::NeighbourEffect::Unreachable(packet) => Unreachable(packet.2),
            super::NeighbourEffect::Displaced(packet) => Displaced(packet.2),
            super::NeighbourEffect::Abandoned(packet) => Abandoned(packet.2),
        });
    }
}

/// The number of a packet that is sent to [`MAC`].
fn delivered(event: Event<u32>) -> Option<u32> {
    match event {
        Send(MAC, number) => Some(number),
        _ => None,
    }
}

struct Rig {
    table: Neighbours<TestPacket>,
    now: Moment,
    /// Whether questions can be sent.
    asked: Solicited,
}

impl Rig {
    fn new() -> Self {
        let now = Moment::from_nanoseconds(5_000_000_000);
        Self { table: Neighbours::new(GATEWAY, FALLBACK), now, asked: Solicited::Yes }
    }

    fn after(&mut self, milliseconds: u64) -> &mut Self {
        self.now = self.now + Duration::from_millis(milliseconds);
        self
    }

    fn send(&mut self, packet: TestPacket, hop: Ipv4Addr) -> Vec<Event<u32>> {
        let mut record = Record(Vec::new(), self.asked);
        self.table.resolve(hop, packet, self.now, &mut record);
        record.0
    }

    fn resolve(&mut self, hop: Ipv4Addr, number: u32) -> Vec<Event<u32>> {
        self.send(TestPacket(ONE, 1, number), hop)
    }

    fn hear(&mut self, hop: Ipv4Addr, mac: Mac, claim: ArpOrigin) -> Vec<Event<u32>> {
        let mut record = Record(Vec::new(), self.asked);
        self.table.learn(hop, mac, claim, self.now, &mut record);
        record.0
    }

    fn learn(&mut self, hop: Ipv4Addr) -> Vec<Event<u32>> {
        self.hear(hop, MAC, ArpOrigin::Reply)
    }

    fn advance(&mut self) -> Vec<Event<u32>> {
        let mut record = Record(Vec::new(), self.asked);
        self.table.advance(self.now, &mut record);
        record.0
    }

    /// `account` sends a packet to each of so many hosts, beginning with 10.0.16.0. What came of it.
    fn scan(&mut self, account: Account, hosts: u32) -> Vec<Event<u32>> {
        let scan = (0..hosts).map(|host| {
            let hop = Ipv4Addr::from(0x0a00_1000 + host);
            self.send(TestPacket(account, 1, 1000 + host), hop)
        });
        scan.flatten().collect()
    }

    /// Every 200 ms a packet for the gateway, which answers questions from `back` ms on as `mac`. How many ms after that
    /// the first packet is sent there.
    fn outage(&mut self, back: u64, mac: Mac) -> u64 {
        let mut passed = 0;
        loop {
            let mut events = self.advance();
            events.extend(self.resolve(GATEWAY, 1));
            if passed >= back && events.contains(&Ask(GATEWAY)) {
                events.extend(self.hear(GATEWAY, mac, ArpOrigin::Reply));
            }
            if passed >= back && events.contains(&Send(mac, 1)) {
                return passed - back;
            }
            self.after(200);
            passed += 200;
            assert!(passed < back + 100_000, "it is never found");
        }
    }
}

#[test]
fn a_hop_in_use_is_forgotten_with_the_uplink() {
    let mut rig = Rig::new();
    rig.resolve(HOST, 1);
    rig.learn(HOST);
    assert_eq!(rig.resolve(HOST, 2), [Send(MAC, 2)]);
    rig.resolve(GATEWAY, 3);
    let mut record = Record(vec![], Solicited::Yes);
    rig.table.clear(&mut record);
    assert_eq!(record.0, [Unreachable(3)]);
    assert_eq!(rig.resolve(HOST, 4), [Ask(HOST)]);
    assert_eq!(rig.resolve(GATEWAY, 5), [Ask(GATEWAY)]);
}

#[test]
fn first_packet_is_delivered_after_the_answer() {
    let mut rig = Rig::new();
    assert_eq!(rig.resolve(HOST, 1), [Ask(HOST)]);
    assert_eq!(rig.learn(HOST), [Send(MAC, 1)]);
    assert_eq!(rig.resolve(HOST, 2), [Send(MAC, 2)]);
}

#[test]
fn a_5_packets_cause_one_question_a_second_whoever_sends_them_and_wait_for_the_answer() {
    let mut rig = Rig::new();
    let mut events = Vec::new();
    for packet in 0..5 {
        events.extend(rig.after(50).resolve(HOST, packet));
        events.extend(rig.after(50).send(TestPacket(TWO, 1, 10 + packet), HOST));
    }
    assert_eq!(events, [Ask(HOST)]);
    assert_eq!(rig.advance(), []);
    assert_eq!(rig.after(600).advance(), [Ask(HOST)]);
    assert_eq!(rig.after(100).advance(), []);
    let mut sent: Vec<u32> = rig.learn(HOST).into_iter().filter_map(delivered).collect();
    // In the order in which each sent them.
    assert!(sent[..5].is_sorted() && sent[5..].is_sorted());
    sent.sort_unstable();
    assert_eq!(sent, [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]);
}

#[test]
fn hop_that_never_answers_is_unreachable_after_three_questions() {
    let mut rig = Rig::new();
    assert_eq!(rig.resolve(HOST, 1), [Ask(HOST)]);
    assert_eq!(rig.after(1000).advance(), [Ask(HOST)]);
    assert_eq!(rig.after(1000).advance(), [Ask(HOST)]);
    assert_eq!(rig.after(999).advance(), []);
    assert_eq!(rig.after(1).advance(), [Unreachable(1)]);
    assert_eq!(rig.table.deadline(), None);
}

#[test]
fn a_6_a_gateway_that_never_answers_is_taken_to_be_a_xen_backend() {
    let mut rig = Rig::new();
    rig.resolve(GATEWAY, 1);
    rig.after(1000).advance();
    rig.after(1000).advance();
    assert_eq!(rig.after(1000).advance(), [Send(FALLBACK, 1)]);
    assert_eq!(rig.resolve(GATEWAY, 2), [Ask(GATEWAY), Send(FALLBACK, 2)]);
    assert_eq!(rig.learn(GATEWAY), []);
    assert_eq!(rig.resolve(GATEWAY, 3), [Send(MAC, 3)]);
}

#[test]
fn a_7_a_gateway_at_its_fallback_address_is_asked_once_a_second_while_there_is_traffic() {
    let mut rig = Rig::new();
    rig.resolve(GATEWAY, 1);
    (0..3).for_each(|_| drop(rig.after(1000).advance()));
    let questions = (0..100).filter(|_| rig.after(100).resolve(GATEWAY, 2).contains(&Ask(GATEWAY)));
    assert_eq!(questions.count(), 10);
    assert_eq!((rig.table.deadline(), rig.after(60_000).advance()), (None, vec![]));
}

#[test]
fn a_7_a_gateway_that_was_silent_is_used_within_a_second_of_being_able_to_answer() {
    assert!(Rig::new().outage(8_000, MAC) <= 1_000);
    assert!(Rig::new().outage(54_000, MAC) <= 1_000);
}

#[test]
fn a_7_a_router_that_was_away_is_used_again_at_once_and_its_successor_within_a_second() {
    for mac in [MAC, MOVED] {
        let mut rig = Rig::new();
        rig.resolve(GATEWAY, 0);
        rig.learn(GATEWAY);
        let outage = rig.after(59_000).outage(30_000, mac);
        assert!(outage <= if mac == MAC { 0 } else { 1_000 }, "{outage} ms");
    }
}

#[test]
fn a_8_the_first_answer_is_taken_and_the_next_one_is_unasked() {
    let mut rig = Rig::new();
    rig.resolve(HOST, 1);
    rig.learn(HOST);
    assert_eq!(rig.hear(HOST, MOVED, ArpOrigin::Reply), []);
    assert_eq!(rig.after(999).resolve(HOST, 2), [Send(MAC, 2)]);
    rig.after(1).hear(HOST, MOVED, ArpOrigin::Reply);
    // Used, and asked about.
    assert_eq!(rig.resolve(HOST, 3), [Ask(HOST), Send(MOVED, 3)]);
    rig.learn(HOST);
    assert_eq!(rig.hear(HOST, MOVED, ArpOrigin::Reply), []);
    assert_eq!(rig.resolve(HOST, 4), [Send(MAC, 4)]);
}

#[test]
fn a_8_of_two_hosts_that_both_answer_the_first_gets_every_packet() {
    for hop in [HOST, GATEWAY] {
        let mut rig = Rig::new();
        // For five minutes, in which it is asked several times.
        for number in 0..3000 {
            let events = rig.after(100).resolve(hop, number);
            assert!(!events.contains(&Send(MOVED, number)), "packet {number}");
            if events.contains(&Ask(hop)) {
                rig.hear(hop, MAC, ArpOrigin::Reply);
                rig.after(5).hear(hop, MOVED, ArpOrigin::Reply);
            }
        }
    }
}

#[test]
fn a_8_what_is_announced_twice_within_a_second_is_asked_about() {
    let mut rig = Rig::new();
    rig.resolve(GATEWAY, 0);
    rig.learn(GATEWAY);
    // A router takes over, and its predecessor comes back at once.
    rig.after(5000).hear(GATEWAY, MOVED, ArpOrigin::Unasked);
    rig.after(200).hear(GATEWAY, MAC, ArpOrigin::Unasked);
    assert_eq!(rig.resolve(GATEWAY, 1), [Ask(GATEWAY), Send(MOVED, 1)]);
    rig.learn(GATEWAY);
    assert_eq!(rig.resolve(GATEWAY, 2), [Send(MAC, 2)]);
}

#[test]
fn a_8_what_is_heard_of_a_hop_in_use_is_used_whatever_it_is() {
    for claim in [ArpOrigin::Reply, ArpOrigin::Unasked] {
        let mut rig = Rig::new();
        for hop in [HOST, GATEWAY] {
            rig.resolve(hop, 1);
            assert_eq!(rig.hear(hop, MAC, claim), [Send(MAC, 1)]);
            rig.after(1).hear(hop, MOVED, ArpOrigin::Unasked);
            assert!(rig.resolve(hop, 2).contains(&Send(MOVED, 2)), "{claim:?} of {hop}");
        }
    }
}

#[test]
fn a_8_unasked_changes_are_a_second_apart_and_a_question_decides() {
    let mut rig = Rig::new();
    rig.resolve(GATEWAY, 1);
    rig.learn(GATEWAY);
    let mut changes = 0;
    let mut at = MAC;
    for step in 0..100u8 {
        rig.after(100).hear(GATEWAY, Mac([2, 0, 0, 0, 1, step]), ArpOrigin::Unasked);
        let sent = rig.resolve(GATEWAY, 2);
        let Some(&Send(mac, _)) = sent.last() else { panic!("{sent:?}") };
        changes += usize::from(mac != at);
        at = mac;
    }
    assert_eq!(changes, 10);
    assert_eq!(rig.after(1000).resolve(GATEWAY, 3), [Ask(GATEWAY), Send(at, 3)]);
    rig.learn(GATEWAY);
    assert_eq!(rig.resolve(GATEWAY, 4), [Send(MAC, 4)]);
}

#[test]
fn a_8_what_nobody_asked_for_confirms_nothing() {
    let mut rig = Rig::new();
    rig.resolve(HOST, 1);
    rig.learn(HOST);
    rig.after(59_000).hear(HOST, MAC, ArpOrigin::Unasked);
    rig.hear(HOST, MAC, ArpOrigin::Reply);
    assert_eq!(rig.after(1000).resolve(HOST, 2), [Ask(HOST), Send(MAC, 2)]);
}

#[test]
fn a_8_what_is_heard_makes_no_entry() {
    let mut rig = Rig::new();
    for claim in [ArpOrigin::Reply, ArpOrigin::Unasked] {
        assert_eq!(rig.hear(HOST, MAC, claim), []);
        assert_eq!(rig.hear(GATEWAY, MAC, claim), []);
    }
    assert_eq!(rig.resolve(HOST, 1), [Ask(HOST)]);
    assert_eq!(rig.resolve(GATEWAY, 2), [Ask(GATEWAY)]);
}

#[test]
fn old_answer_is_used_while_it_is_asked_for_again() {
    let mut rig = Rig::new();
    rig.resolve(HOST, 1);
    rig.learn(HOST);
    assert_eq!(rig.after(60_000).resolve(HOST, 2), [Ask(HOST), Send(MAC, 2)]);
    assert_eq!(rig.after(500).resolve(HOST, 3), [Send(MAC, 3)]);
    assert_eq!(rig.after(500).resolve(HOST, 4), [Ask(HOST), Send(MAC, 4)]);
    rig.learn(HOST);
    assert_eq!(rig.after(1000).resolve(HOST, 5), [Send(MAC, 5)]);
}

#[test]
fn old_answer_that_is_not_confirmed_is_given_up_and_asked_for_on() {
    let mut rig = Rig::new();
    rig.resolve(HOST, 1);
    rig.learn(HOST);
    rig.after(60_000);
    for _ in 0..3 {
        assert_eq!(rig.resolve(HOST, 2), [Ask(HOST), Send(MAC, 2)]);
        rig.after(1000);
    }
    assert_eq!(rig.resolve(HOST, 3), [Ask(HOST)]);
    assert_eq!(rig.hear(HOST, MOVED, ArpOrigin::Reply), [Send(MOVED, 3)]);
}

#[test]
fn a_9_the_fragments_of_the_largest_datagram_wait_for_the_answer() {
    let mut rig = Rig::new();
    for hop in [HOST, GATEWAY] {
        (0..45).for_each(|fragment| drop(rig.resolve(hop, fragment)));
        let all: Vec<_> = (0..45).map(|fragment| Send(MAC, fragment)).collect();
        assert_eq!(rig.learn(hop), all);
    }
}

#[test]
fn a_9_what_waits_is_bounded_by_pages_on_its_sender_s_account() {
    let mut rig = Rig::new();
    rig.send(TestPacket(TWO, 6, 7), GATEWAY);
    let displaced =
        (0..100).flat_map(|packet| rig.send(TestPacket(ONE, 18, packet), GATEWAY)).collect::<Vec<_>>();
    assert_eq!(displaced, (0..98).map(Displaced).collect::<Vec<_>>());
    assert_eq!((rig.table.holdings(ONE).pages, rig.table.holdings(TWO).pages), (36, 6));
    assert_eq!(rig.learn(GATEWAY), [Send(MAC, 7), Send(MAC, 98), Send(MAC, 99)]);
    assert_eq!(rig.table.holdings(ONE).pages, 0);
}

#[test]
fn a_9_nothing_waits_for_longer_than_three_seconds_with_or_without_questions() {
    let mut rig = Rig::new();
    rig.scan(ONE, 400);
    assert_eq!(rig.table.holdings(ONE).silent, 48);
    (0..3).for_each(|_| drop(rig.after(1000).advance()));
    assert_eq!(rig.table.holdings(ONE), NeighbourHoldings { pages: 0, silent: 0, known: 0 });
}

#[test]
fn another_gateway_is_asked_for_and_the_old_one_is_a_host_like_others() {
    let mut rig = Rig::new();
    rig.resolve(GATEWAY, 1);
    rig.hear(GATEWAY, MAC, ArpOrigin::Reply);
    rig.table.set_gateway(HOST);
    let mut record = Record(Vec::new(), rig.asked);
    rig.table.clear(&mut record);
    assert_eq!(rig.resolve(HOST, 2), [Ask(HOST)]);
    assert_eq!(rig.hear(HOST, MAC, ArpOrigin::Reply), [Send(MAC, 2)]);
    // The old one is given up when it does not answer; no gateway is.
    rig.resolve(GATEWAY, 3);
    let events: Vec<_> = (0..5).flat_map(|_| rig.after(1000).advance()).collect();
    assert!(events.contains(&Unreachable(3)), "{events:?}");
}

#[test]
fn a_hop_is_known_without_asking_for_a_second_and_until_somebody_says_otherwise() {
    let mut rig = Rig::new();
    let known = |rig: &Rig, hop| rig.table.known(hop, rig.now);
    rig.resolve(HOST, 1);
    assert_eq!(known(&rig, HOST), None);
    rig.hear(HOST, MAC, ArpOrigin::Reply);
    // Only where a packet went.
    assert_eq!(known(&rig, HOST), None);
    rig.resolve(HOST, 2);
    assert_eq!((known(&rig, HOST), known(&rig, GATEWAY)), (Some(MAC), None));
    assert_eq!(known(rig.after(999), HOST), Some(MAC));
    assert_eq!(known(rig.after(1), HOST), None);
    rig.resolve(HOST, 3);
    assert_eq!(known(&rig, HOST), Some(MAC));
    rig.hear(HOST, MOVED, ArpOrigin::Unasked);
    assert_eq!(known(&rig, HOST), None);
    rig.resolve(HOST, 4);
    assert!(known(&rig, HOST).is_some());
    rig.table.clear(&mut Record(Vec::new(), Solicited::Yes));
    assert_eq!(known(&rig, HOST), None);
}
