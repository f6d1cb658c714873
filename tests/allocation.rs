//! Memory: all of it is taken at the start, within its bound, and none per packet.
//!
//! Needs `--features sim`, where the counting allocator is.
#![allow(missing_docs)]
#![cfg(feature = "sim")]

mod support;
use ravelin::client::{ClientSlot, Side};
use ravelin::counters::Drop;
use ravelin::guard::RuleTable;
use ravelin::journey::{Journey, Outlet, Progress, Settings};
use ravelin::packet::{Datagram, Offload};
use ravelin::time::Moment;
use ravelin::xen::meter::{self, Account, Meter};
use std::net::Ipv4Addr;
use std::time::Duration;
use support::{C1, C2, F, G, ONE, Packet, R, Random, TWO};

#[global_allocator]
static METER: Meter = Meter;

/// A packet that moves without allocating.
#[derive(Clone, Copy)]
struct Flat {
    bytes: [u8; 1500],
    length: usize,
}

impl Flat {
    fn of(packet: &Packet) -> Flat {
        let mut bytes = [0; 1500];
        bytes[..packet.bytes.len()].copy_from_slice(&packet.bytes);
        Flat { bytes, length: packet.bytes.len() }
    }
}

impl Datagram for Flat {
    fn header(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    fn total_bytes(&self) -> usize {
        self.length
    }

    fn truncate(&mut self, total_bytes: usize) {
        self.length = self.length.min(total_bytes);
    }

    fn offload(&self) -> Offload {
        Offload::NONE
    }

    fn set_offload(&mut self, _: Offload) {}
}

/// Counts what leaves and keeps the last packet.
struct Last {
    forwarded: usize,
    discarded: usize,
    answered: usize,
    packet: Option<Flat>,
}

impl Outlet<Flat> for Last {
    fn forward(&mut self, _: Side, packet: Flat) {
        self.forwarded += 1;
        self.packet = Some(packet);
    }

    fn answer(&mut self, _: Side, _: &[u8]) {
        self.answered += 1;
    }

    fn fragment(&mut self, _: Side, packet: Flat, _: u16) {
        self.forward(Side::Uplink, packet);
    }

    fn discard(&mut self, _: Flat, _: Drop) {
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
        let packet = match random.below(9) {
            0 | 1 => support::tcp(from, (remote, 80), "S", 1, 0),
            2 => support::tcp(from, (remote, 80), "A", 2, 2),
            3 | 4 => support::udp(from, (remote, 53)),
            5 => support::echo_request(client, remote, inner),
            6 => support::ip(client, remote, 50, b"some payload"),
            7 => support::udp(from, (remote, 53)).ttl_of(1),
            _ => {
                let datagram = support::udp_with(from, (remote, 53), &[7; 2800]).no_df().id(inner);
                random.pick(&[0, 1]).to_string();
                datagram.cut(1500)[random.below(2) as usize].clone()
            }
        };
        made.push((Some(slot), Flat::of(&packet)));
        let stray = support::tcp((R, 80), (F, inner), "SA", 1, 2);
        made.push((None, Flat::of(&stray)));
    }
    made
}

#[test]
fn no_packet_allocates() {
    let traffic = traffic();
    let mut settings = Settings { gateway: G, ..Settings::for_memory(16 << 20, F) };
    settings.flows = 4096;
    settings.quotas.flows_per_client = 3000;
    settings.quotas.new_flows.per_second = 1_000_000;
    let mut now = Moment::from_nanoseconds(1_000_000_000);
    let mut journey = Journey::new(settings, RuleTable::allow_all(), [7; 32], now);
    journey.attach(ONE, C1, now);
    journey.attach(TWO, C2, now);
    let mut last = Last { forwarded: 0, discarded: 0, answered: 0, packet: None };
    let charged = meter::charge(Account::Kernel);
    let before = meter::reading().allocations;
    for round in 0..5 {
        for (n, (from, packet)) in traffic.iter().enumerate() {
            match from {
                Some(slot) => journey.outbound(now, *slot, *packet, &mut last),
                None => journey.inbound(now, *packet, &mut last),
            }
            if n % 64 == 0 {
                now = now + Duration::from_millis(700 + 10 * round);
                while journey.advance(now, &mut last) == Progress::MoreToDo {}
            }
        }
    }
    let after = meter::reading().allocations;
    drop(charged);
    assert_eq!(after - before, 0);
    let counters = journey.counters();
    assert!(last.forwarded > 50_000 && last.discarded > 50_000 && last.answered > 1_000);
    assert!(
        counters.expired > 10_000 && counters.evicted > 1_000,
        "{} {}",
        counters.expired,
        counters.evicted
    );
}

/// What a packet is in the kernel: a handle.
struct Handle([u64; 6]);

impl Datagram for Handle {
    fn header(&mut self) -> &mut [u8] {
        &mut []
    }

    fn total_bytes(&self) -> usize {
        self.0.len()
    }

    fn truncate(&mut self, _: usize) {}

    fn offload(&self) -> Offload {
        Offload::NONE
    }

    fn set_offload(&mut self, _: Offload) {}
}

#[test]
fn all_memory_is_within_its_bound() {
    for (mebibytes, flows, limit) in [(16, 32_768, 5_500_000), (64, 262_144, 32_000_000)] {
        let now = Moment::from_nanoseconds(0);
        let _charged = meter::charge(Account::Kernel);
        let before = meter::reading().live_bytes;
        let settings = Settings::for_memory(mebibytes << 20, F);
        assert_eq!(settings.flows, flows);
        let journey = Journey::<Handle>::new(settings, RuleTable::allow_all(), [7; 32], now);
        let bytes = (meter::reading().live_bytes - before) as usize;
        println!("{mebibytes} MiB: {bytes} bytes for {flows} flows, {} each", bytes / flows as usize);
        assert!(bytes < limit, "{bytes}");
        drop(journey);
    }
}
