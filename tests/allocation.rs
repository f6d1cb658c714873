//! Memory: all of it is taken at the start, within its bound, and none per packet.
//!
//! Needs `--features sim`, where the counting allocator is.
#![allow(missing_docs)]
#![cfg(feature = "sim")]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::{ClientSlot, Side};
use ravelin::base::time::Moment;
use ravelin::engine::{Engine, Output, Progress, Settings};
use ravelin::guard::RuleTable;
use ravelin::tables::share::Account;
use ravelin::wire::ipv4::Ipv4;
use ravelin::wire::packet::{Offload, Original, Packet};
use ravelin::xen::meter::{self, Meter, Payer};
use std::net::Ipv4Addr;
use std::time::Duration;
use support::{C1, C2, F, G, ONE, R, Random, TWO, TestPacket};

#[global_allocator]
static METER: Meter = Meter;

/// A packet that moves without allocating.
#[derive(Clone, Copy)]
struct Flat {
    bytes: [u8; 1500],
    length: usize,
    original: Option<Original>,
}

impl Flat {
    fn of(packet: &TestPacket) -> Flat {
        let mut bytes = [0; 1500];
        bytes[..packet.bytes.len()].copy_from_slice(&packet.bytes);
        Flat { bytes, length: packet.bytes.len(), original: None }
    }

    /// The packet back to its sender, as nobody but a ping's receiver would change it: no sum changes by that.
    fn returned(mut self) -> Flat {
        let Flat { bytes, .. } = &mut self;
        for at in 0..4 {
            bytes.swap(12 + at, 16 + at);
        }
        match bytes[9] {
            6 | 17 => (0..2).for_each(|at| bytes.swap(20 + at, 22 + at)),
            1 if bytes[20] == 8 => {
                bytes[20] = 0;
                let sum = u16::from_be_bytes([bytes[22], bytes[23]]);
                let sum = ravelin::wire::checksum::Delta::NONE.word(0x0800, 0).apply(sum);
                bytes[22..24].copy_from_slice(&sum.to_be_bytes());
            }
            _ => {}
        }
        self
    }

    /// An ICMP error about the packet to its sender.
    fn error(&self, kind: u8, code: u8) -> Flat {
        let mut bytes = [0; 1500];
        bytes[..20].copy_from_slice(&self.bytes[..20]);
        bytes[..4].copy_from_slice(&[0x45, 0, 0, 56]);
        bytes[6..12].copy_from_slice(&[0x40, 0, 64, 1, 0, 0]);
        bytes[12..16].copy_from_slice(&self.bytes[16..20]);
        bytes[16..20].copy_from_slice(&self.bytes[12..16]);
        (bytes[20], bytes[21]) = (kind, code);
        bytes[28..56].copy_from_slice(&self.bytes[..28]);
        for (field, covered) in [(10, 0..20), (22, 20..56)] {
            let sum = ravelin::wire::checksum::of(&bytes[covered]);
            bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        }
        Flat { bytes, length: 56, original: None }
    }
}

impl Packet for Flat {
    fn header(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn header_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    fn total_bytes(&self) -> usize {
        self.length
    }

    fn offload(&self) -> Offload {
        Offload::NONE
    }

    fn original(&self) -> Option<Original> {
        self.original
    }

    fn set_offload(&mut self, _: Offload) {}
}

/// Counts what leaves and keeps the last packet, and where it went.
struct Last {
    forwarded: usize,
    discarded: usize,
    answered: usize,
    packet: Option<(Side, Flat)>,
}

impl Output<Flat> for Last {
    fn admit(&mut self, from: Side, packet: &mut Flat, ip: &Ipv4) -> Result<(), DropReason> {
        if let Side::Client(_) = from {
            packet.original = Some(Original::of(ip, packet.header()));
        }
        packet.length = ip.total_bytes.into();
        Ok(())
    }

    fn forward(&mut self, to: Side, packet: Flat, _: Ipv4Addr) {
        self.forwarded += 1;
        self.packet = Some((to, packet));
    }

    fn reply(&mut self, _: Side, _: &[u8], _: Ipv4Addr) {
        self.answered += 1;
    }

    fn fragment(&mut self, to: Side, packet: Flat, ip: &Ipv4, _: u16) {
        self.forward(to, packet, ip.destination);
    }

    fn discard(&mut self, _: Flat, _: DropReason) {
        self.discarded += 1;
    }
}

/// What may come from outside.
fn traffic() -> Vec<(Option<ClientSlot>, Flat)> {
    let mut random = Random::new(9);
    let mut made = Vec::new();
    for _ in 0..20_000 {
        let (slot, client) = random.pick(&[(ONE, C1), (TWO, C2)]);
        let inner = random.bits() as u16;
        let remote = Ipv4Addr::from(0x0808_0000 + random.below(2000) as u32);
        let from = (client, inner);
        let packet = match random.below(13) {
            0 | 1 => support::tcp(from, (remote, 80), "S", 1, 0),
            2 => support::tcp(from, (remote, 80), "A", 2, 2),
            3 | 4 => support::udp(from, (remote, 53)),
            5 => support::echo_request(client, remote, inner),
            6 => support::ip(client, remote, 50, b"some payload"),
            7 => support::udp(from, (remote, 53)).ttl_of(1),
            8 => support::udp(from, (random.pick(&[C1, C2]), 53)),
            9 => support::tcp(from, (random.pick(&[C1, C2]), 80), "S", 1, 0),
            10 => support::echo_request(client, random.pick(&[G, F]), inner),
            11 => support::udp(from, (random.pick(&[G, F]), 53)),
            _ => {
                let datagram = support::udp_with(from, (remote, 53), &[7; 2800]).no_df().id(inner);
                datagram.cut(1500)[random.below(2) as usize].clone()
            }
        };
        made.push((Some(slot), Flat::of(&packet)));
        let stray = support::tcp((R, 80), (F, inner), "SA", 1, 2);
        made.push((None, Flat::of(&stray)));
        made.push((None, Flat::of(&support::udp((remote, inner), (F, 8080)))));
    }
    made
}

fn give(engine: &mut Engine<Flat>, now: Moment, from: Side, packet: Flat, last: &mut Last) {
    match from {
        Side::Client(slot) => engine.outbound(now, slot, packet, last),
        Side::Uplink => engine.inbound(now, packet, last),
    }
}

#[test]
fn no_packet_allocates() {
    let traffic = traffic();
    let mut settings = Settings { client_gateway: G, ..Settings::for_memory(16 << 20, F) };
    settings.flows = 4096;
    settings.quotas.flows_per_client = 3000;
    settings.quotas.new_flows.per_second = 1_000_000;
    let mut now = Moment::from_nanoseconds(1_000_000_000);
    let rules = "[default]\npolicy=accept\naction=drop dst4=8.8.4.0/24\n\
        [permit]\nfrom=10.137.0.11 to=10.137.0.12 action=accept\n\
        [forward]\nproto=udp dstports=8080 to=10.137.0.11:80\n";
    let (rules, problems) = ravelin::guard::ruleset::read(rules.as_bytes(), &[]);
    assert!(problems.list.is_empty());
    let mut engine = Engine::new(settings, rules, [7; 32], now);
    engine.attach(ONE, C1, now);
    engine.attach(TWO, C2, now);
    let mut last = Last { forwarded: 0, discarded: 0, answered: 0, packet: None };
    let charged = meter::charge(Payer::Kernel);
    let before = meter::reading().allocations;
    for round in 0..5 {
        for (n, (from, packet)) in traffic.iter().enumerate() {
            let from = from.map_or(Side::Uplink, Side::Client);
            give(&mut engine, now, from, *packet, &mut last);
            // What arrived is answered, or an error about it is sent, or it could not be delivered.
            if let Some((to, arrived)) = last.packet.take() {
                match n % 4 {
                    0 => {}
                    1 => give(&mut engine, now, to, arrived.error(3, 3), &mut last),
                    2 if to == Side::Uplink => {
                        let sender = match from {
                            Side::Client(slot) => engine.engine().clients().on(slot),
                            Side::Uplink => None,
                        };
                        let sender = sender.map_or(Account::UPLINK, Account::client);
                        engine.unreachable(now, arrived, sender, &mut last);
                    }
                    _ => give(&mut engine, now, to, arrived.returned(), &mut last),
                }
            }
            if n % 64 == 0 {
                now = now + Duration::from_millis(700 + 10 * round);
                while engine.advance(now, &mut last) == Progress::MoreToDo {}
            }
        }
    }
    let after = meter::reading().allocations;
    drop(charged);
    assert_eq!(after - before, 0);
    let counters = engine.counters();
    assert!(last.forwarded > 50_000 && last.discarded > 50_000 && last.answered > 1_000, "{counters:?}");
    assert!(counters.expired > 10_000 && counters.evicted > 1_000, "{counters:?}");
    assert!(counters.inward > 10_000 && counters.between > 10_000, "{counters:?}");
    for why in [
        DropReason::Rule,
        DropReason::FragmentLimit,
        DropReason::Unreachable,
        DropReason::TtlExpired,
        DropReason::ForFirewall,
    ] {
        assert!(counters.dropped.of(why) > 100, "{why:?}: {counters:?}");
    }
}

/// What a packet is in the kernel: a handle.
struct Handle([u64; 6]);

impl Packet for Handle {
    fn header(&self) -> &[u8] {
        &[]
    }

    fn header_mut(&mut self) -> &mut [u8] {
        &mut []
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

#[test]
fn all_memory_is_within_its_bound() {
    for (mebibytes, flows, limit) in [(16, 32_768, 5_500_000), (64, 262_144, 32_000_000)] {
        let now = Moment::from_nanoseconds(0);
        let _charged = meter::charge(Payer::Kernel);
        let before = meter::reading().live_bytes;
        let settings = Settings::for_memory(mebibytes << 20, F);
        assert_eq!(settings.flows, flows);
        let engine = Engine::<Handle>::new(settings, RuleTable::allow_all(), [7; 32], now);
        let bytes = (meter::reading().live_bytes - before) as usize;
        println!("{mebibytes} MiB: {bytes} bytes for {flows} flows, {} each", bytes / flows as usize);
        assert!(bytes < limit, "{bytes}");
        drop(engine);
    }
}
