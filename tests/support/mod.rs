//! A firewall with two clients and a recorder of what leaves it, and packets made by an independent builder.
//!
//! Names are those of docs/conformance.md: C1 and C2 are clients, F is our uplink address, G the gateway that
//! clients see, R and S are hosts on the uplink side.
#![allow(dead_code, unused_imports, missing_docs)]

pub mod log;
pub mod packet;
pub mod random;
pub mod rules;

pub use packet::*;
pub use random::Random;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::{ClientSlot, Side};
use ravelin::base::time::Moment;
use ravelin::engine::{Engine, Output, Progress, Settings};
use ravelin::guard::RuleTable;
use ravelin::tables::share::Account;
use ravelin::wire::ipv4::Ipv4;
use ravelin::wire::packet::{Original, Packet};
pub use rules::*;
use std::net::Ipv4Addr;
use std::time::Duration;

pub const C1: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 11);
pub const C2: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 12);
pub const G: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 1);
pub const F: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
pub const R: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub const S: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 20);
pub const ONE: ClientSlot = ClientSlot(1);
pub const TWO: ClientSlot = ClientSlot(2);

/// Something that left the firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    Forward(Side, TestPacket),
    Answer(Side, Vec<u8>),
    Fragment(Side, TestPacket, u16),
    Discard(DropReason),
}

/// Records what leaves.
#[derive(Default)]
pub struct Recorder {
    pub out: Vec<Out>,
}

impl Output<TestPacket> for Recorder {
    fn admit(&mut self, from: Side, packet: &mut TestPacket, ip: &Ipv4) -> Result<(), DropReason> {
        if let Side::Client(_) = from {
            packet.original = Some(Original::of(ip, packet.header()));
        }
        packet.bytes.truncate(ip.total_bytes.into());
        Ok(())
    }

    fn forward(&mut self, to: Side, packet: TestPacket, destination: Ipv4Addr) {
        assert_eq!(packet.destination(), destination);
        self.out.push(Out::Forward(to, packet));
    }

    fn reply(&mut self, to: Side, packet: &[u8], destination: Ipv4Addr) {
        assert_eq!(packet[16..20], destination.octets());
        self.out.push(Out::Answer(to, packet.to_vec()));
    }

    fn fragment(&mut self, to: Side, packet: TestPacket, ip: &Ipv4, mtu: u16) {
        let total = packet.total_bytes();
        assert_eq!(Ipv4::read(packet.header(), total), Ok(*ip));
        self.out.push(Out::Fragment(to, packet, mtu));
    }

    fn discard(&mut self, _: TestPacket, why: DropReason) {
        self.out.push(Out::Discard(why));
    }
}

/// The firewall under test, with a clock of its own.
pub struct World {
    pub engine: Engine<TestPacket>,
    pub now: Moment,
}

/// Settings of the usual test world: 16 MiB, gateway G.
pub fn settings() -> Settings {
    Settings { client_gateway: G, uplink_prefix_bits: 24, ..Settings::for_memory(16 << 20, F) }
}

impl World {
    /// C1 and C2 attached, everything outward allowed.
    pub fn new() -> World {
        World::with(settings(), RuleTable::allow_all())
    }

    pub fn with(settings: Settings, rules: RuleTable) -> World {
        // Not at a whole second and not at zero, as a real clock.
        let now = Moment::from_nanoseconds(1_000_400_000_000);
        let mut engine = Engine::new(settings, rules, [7; 32], now);
        engine.attach(ONE, C1, now);
        engine.attach(TWO, C2, now);
        World { engine, now }
    }

    /// Lets time pass, and the engine do what is due.
    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.advance();
    }

    /// Lets the engine do all that is due.
    pub fn advance(&mut self) -> Vec<Out> {
        let mut recorder = Recorder::default();
        while self.engine.advance(self.now, &mut recorder) == Progress::MoreToDo {}
        recorder.out
    }

    /// Lets time pass without the engine being called.
    pub fn wait_unattended(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// What leaves when a client sends `packet`.
    pub fn client(&mut self, from: ClientSlot, packet: TestPacket) -> Vec<Out> {
        let mut recorder = Recorder::default();
        self.engine.outbound(self.now, from, packet, &mut recorder);
        recorder.out
    }

    /// What leaves when `packet` comes from the uplink.
    pub fn uplink(&mut self, packet: TestPacket) -> Vec<Out> {
        let mut recorder = Recorder::default();
        self.engine.inbound(self.now, packet, &mut recorder);
        recorder.out
    }

    /// What leaves when the uplink's link layer gives back `packet`, which `from` sent.
    pub fn undelivered(&mut self, from: ClientSlot, packet: TestPacket) -> Vec<Out> {
        let sender = self.engine.engine().clients().on(from).map_or(Account::UPLINK, Account::client);
        let mut recorder = Recorder::default();
        self.engine.unreachable(self.now, packet, sender, &mut recorder);
        recorder.out
    }

    /// The packet that a client's `packet` becomes on the uplink; anything else fails the test.
    #[track_caller]
    pub fn out_u(&mut self, from: ClientSlot, packet: TestPacket) -> TestPacket {
        only_forward(self.client(from, packet), Side::Uplink)
    }

    /// The packet that a `packet` from the uplink becomes at a client; anything else fails the test.
    #[track_caller]
    pub fn out_c(&mut self, to: ClientSlot, packet: TestPacket) -> TestPacket {
        only_forward(self.uplink(packet), Side::Client(to))
    }

    /// Checks that a client's `packet` is dropped without an answer.
    #[track_caller]
    pub fn client_nothing(&mut self, from: ClientSlot, packet: TestPacket, why: DropReason) {
        assert_eq!(self.client(from, packet), [Out::Discard(why)]);
    }

    /// Checks that a `packet` from the uplink is dropped without an answer, and counted.
    #[track_caller]
    pub fn uplink_nothing(&mut self, packet: TestPacket, why: DropReason) {
        let before = self.engine.counters().dropped.of(why);
        assert_eq!(self.uplink(packet), [Out::Discard(why)]);
        assert_eq!(self.engine.counters().dropped.of(why), before + 1);
    }

    /// The ICMP error that `from` gets for `packet`, checked to be well made; anything else fails the test.
    #[track_caller]
    pub fn client_error(&mut self, from: ClientSlot, packet: TestPacket, why: DropReason) -> (u8, u8) {
        let out = self.client(from, packet);
        match out.as_slice() {
            [Out::Answer(Side::Client(to), bytes), Out::Discard(reason)] => {
                assert_eq!((*to, *reason), (from, why));
                let answer = TestPacket::new(bytes.clone());
                answer.assert_sums();
                (answer.icmp_kind(), answer.icmp_code())
            }
            other => panic!("expected an ICMP error and {why:?}, got {other:?}"),
        }
    }
}

/// The one packet that left by `to`; anything else fails the test.
#[track_caller]
pub fn only_forward(out: Vec<Out>, to: Side) -> TestPacket {
    match <[Out; 1]>::try_from(out) {
        Ok([Out::Forward(side, packet)]) => {
            assert_eq!(side, to);
            packet
        }
        other => panic!("expected one packet out by {to:?}, got {other:?}"),
    }
}

impl World {
    /// Opens a TCP connection of C1 from `port` to R:80 with sequence numbers 1000 and 5000; both ends have sent
    /// a hundred bytes. Returns the outer end.
    #[track_caller]
    pub fn open_tcp(&mut self, port: u16) -> (Ipv4Addr, u16) {
        self.open_tcp_of(ONE, (C1, port), (R, 80))
    }

    /// The same for any client and far end.
    #[track_caller]
    pub fn open_tcp_of(
        &mut self,
        slot: ClientSlot,
        client: (Ipv4Addr, u16),
        far: (Ipv4Addr, u16),
    ) -> (Ipv4Addr, u16) {
        let outer = self.out_u(slot, tcp(client, far, "S", 1000, 0)).from();
        self.out_c(slot, tcp(far, outer, "SA", 5000, 1001));
        self.out_u(slot, tcp(client, far, "A", 1001, 5001));
        self.out_u(slot, tcp_with(client, far, "PA", 1001, 5001, &[b'x'; 100]));
        self.out_c(slot, tcp_with(far, outer, "PA", 5001, 1101, &[b'y'; 100]));
        self.out_u(slot, tcp(client, far, "A", 1101, 5101));
        outer
    }

    /// Flows there are.
    pub fn flows(&self) -> usize {
        self.engine.engine().flows().len()
    }

    /// How often packets were dropped for `why`.
    pub fn dropped(&self, why: DropReason) -> u64 {
        self.engine.counters().dropped.of(why)
    }
}
