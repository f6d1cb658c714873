//! Two vifs without domains behind them: a client's rings and the uplink's, and peers that only move indices.
#![allow(missing_docs)]

mod stub;

use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::{ClientSlot, Side};
use ravelin::base::time::Moment;
use ravelin::engine::passed_packet::PassedPacket;
use ravelin::engine::{Engine, Output, Settings};
use ravelin::guard::RuleTable;
use ravelin::vif::backpressure::EgressLimits;
use ravelin::vif::channels::Channels;
use ravelin::vif::features::{Features, Support};
use ravelin::vif::frame::Frame;
use ravelin::vif::in_flight::{Collected, InFlight, Landing, Single};
use ravelin::vif::netback::Netback;
use ravelin::vif::netfront::Netfront;
use ravelin::vif::parcel::{Arrived, Body, Parcel};
use ravelin::wire::checksum;
use ravelin::wire::ethernet::HEADER_BYTES;
use ravelin::wire::ipv4::Ipv4;
use ravelin::wire::packet::Packet;
use ravelin::xen::charge::{BOUNCE_PAGES, Charge};
use ravelin::xen::copy::{CopyBatch, Lent};
use ravelin::xen::event::Port;
use ravelin::xen::host::HostFrame;
use ravelin::xen::page_pool::Chunk;
use ravelin::xen::{DomainId, Xen};
use std::net::Ipv4Addr;
use stub::Stub;

/// Packets in one burst, and slots in each: what a client may send in one turn.
const BURST: u32 = 40;
const LARGE_BURST: u32 = 2;
const LARGE_SLOTS: u32 = 16;
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 11);
const UPLINK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const SLOT: ClientSlot = ClientSlot(1);
const ALL: Features =
    Features { scatter_gather: Support::Yes, blank_checksum: Support::Yes, segmentation: Support::Yes };

const WAY_OUT: EgressLimits = EgressLimits { segmentation: Support::Yes, mtu: 65_521 };

/// How much of it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Everything.
    Whole,
    /// The stand-ins' part alone.
    PeersOnly,
}

const SOMEBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// Gives what leaves to the vifs, and remembers the last source port.
struct Ways<'a> {
    netback: &'a mut Netback,
    netfront: &'a mut Netfront,
    batch: &'a mut CopyBatch,
    lent: &'a mut Vec<Lent<Chunk>>,
    xen: &'a mut Stub,
    now: Moment,
    port: &'a mut u16,
}

impl Ways<'_> {
    /// The fast path outward, as the kernel takes it. A packet that is not for it comes back.
    fn pass_outward(&mut self, engine: &mut Engine<Frame>, mut parcel: Parcel) -> Option<Parcel> {
        let mut view = parcel.view(&mut self.batch.bounces)?;
        let Some(passed) = engine.pass_fast_outward(self.now, SLOT, &mut view) else { return Some(parcel) };
        view.head[..HEADER_BYTES].fill(2);
        *self.port = u16::from_be_bytes([view.head[34], view.head[35]]);
        parcel.cut(passed.total_bytes);
        if let Err(parcel) = self.netfront.send_now(parcel, &mut self.batch.bounces, self.xen) {
            let frame = self.passed_frame(parcel, passed);
            self.netfront.send(frame, self.xen.pages());
        }
        None
    }

    /// Likewise inward.
    fn pass_inward(&mut self, engine: &mut Engine<Frame>, mut parcel: Parcel) -> Option<Parcel> {
        let mut view = parcel.view(&mut self.batch.bounces)?;
        let Some(way) = engine.pass_fast_inward(self.now, &mut view) else { return Some(parcel) };
        view.head[..HEADER_BYTES].fill(2);
        parcel.cut(way.total_bytes);
        if let Err(parcel) = self.netback.deliver_now(parcel, self.batch, self.lent) {
            let frame = self.passed_frame(parcel, way);
            self.netback.send(frame, self.xen.pages(), self.now);
        }
        None
    }

    /// What the fast path has passed, and what has to wait.
    fn passed_frame(&mut self, parcel: Parcel, passed: PassedPacket) -> Frame {
        let bounces = &mut self.batch.bounces;
        let frame = parcel.into_passed_frame(passed.original, bounces, Charge::UPLINK, self.xen.pages());
        frame.expect("headers, and pages enough")
    }

    /// The whole frame, for the whole engine.
    fn frame(&mut self, parcel: Parcel) -> Frame {
        let frame = parcel.into_frame(&mut self.batch.bounces, Charge::UPLINK, self.xen.pages());
        frame.expect("an Ethernet header")
    }
}

impl Output<Frame> for Ways<'_> {
    fn admit(&mut self, from: Side, packet: &mut Frame, ip: &Ipv4) -> Result<(), DropReason> {
        packet.note_header(from, ip, self.xen.pages()).map_err(|_| DropReason::Segmentation)
    }

    fn forward(&mut self, to: Side, mut packet: Frame, _: Ipv4Addr) {
        packet.ethernet_mut().fill(2);
        match to {
            Side::Uplink => {
                *self.port = u16::from_be_bytes([packet.header()[20], packet.header()[21]]);
                self.netfront.send(packet, self.xen.pages());
            }
            Side::Client(_) => self.netback.send(packet, self.xen.pages(), self.now),
        }
    }

    fn reply(&mut self, _: Side, _: &[u8], _: Ipv4Addr) {
        panic!("nothing is answered here");
    }

    fn fragment(&mut self, _: Side, _: Frame, _: &Ipv4, _: u16) {
        panic!("nothing is cut here");
    }

    fn discard(&mut self, _: Frame, why: DropReason) {
        panic!("dropped: {why:?}");
    }
}

/// A UDP datagram in an Ethernet frame of `bytes`.
fn datagram(bytes: usize, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    let mut frame = vec![0; bytes];
    frame[12..14].copy_from_slice(&[8, 0]);
    let ip = &mut frame[14..];
    let total = (bytes - 14) as u16;
    ip[..2].copy_from_slice(&[0x45, 0]);
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[6..10].copy_from_slice(&[0x40, 0, 64, 17]);
    ip[12..16].copy_from_slice(&from.0.octets());
    ip[16..20].copy_from_slice(&to.0.octets());
    let sum = checksum::of(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip[20..22].copy_from_slice(&from.1.to_be_bytes());
    ip[22..24].copy_from_slice(&to.1.to_be_bytes());
    ip[24..26].copy_from_slice(&(total - 20).to_be_bytes());
    frame
}

/// A ring as a peer sees it: its page and the bytes of an entry.
#[derive(Clone, Copy)]
struct Ring(HostFrame, usize);

impl Ring {
    fn write(self, xen: &Stub, index: u32, entry: &[u8]) {
        xen.memory.write(self.0, 64 + (index % 256) as usize * self.1, entry);
    }

    fn read<const BYTES: usize>(self, xen: &Stub, index: u32) -> [u8; BYTES] {
        let mut entry = [0; BYTES];
        xen.memory.read(self.0, 64 + (index % 256) as usize * self.1, &mut entry);
        entry
    }
}

/// Offsets of the producers' indices.
const REQUESTS: usize = 0;
const RESPONSES: usize = 8;

/// The whole arrangement.
pub struct Loopback {
    xen: Stub,
    netback: Netback,
    netfront: Netfront,
    engine: Engine<Frame>,
    batch: CopyBatch,
    in_flight: InFlight,
    arrived: Vec<Arrived>,
    lent: Vec<Lent<Chunk>>,
    client_tx: Ring,
    client_rx: Ring,
    uplink_tx: Ring,
    uplink_rx: Ring,
    /// Our grant table, a page that the client sends from, the first of those it receives into.
    table: HostFrame,
    source: HostFrame,
    sink: HostFrame,
    bytes: u16,
    burst: u32,
    /// Slots of each packet, as full as the first.
    slots: u32,
    /// How far the peers are in the four rings.
    at: [u32; 4],
    /// What the uplink answers.
    answer: Vec<u8>,
    /// Slots that passed so far.
    pub packets: u64,
}

impl Loopback {
    /// Two vifs, and one flow of frames of `bytes`; above the MTU, frames of as many slots pass by the engine.
    pub fn new(bytes: usize) -> Self {
        const KERNEL: u32 = 1024;
        let is_large = bytes > 1514;
        let (burst, slots) = if is_large { (LARGE_BURST, LARGE_SLOTS) } else { (BURST, 1) };
        let bytes = bytes / slots as usize;
        let mut xen = Stub::new(KERNEL, 512);
        let frame = |index: u32| HostFrame(KERNEL + index);
        let (table, tx, rx, source, sink) = (frame(0), frame(4), frame(5), frame(6), frame(64));
        let map = |xen: &mut Stub, frame: HostFrame| {
            xen.map(DomainId(9), ravelin::xen::grant::Gref(frame.0)).expect("a frame of this machine")
        };
        let (tx_page, rx_page) = (map(&mut xen, tx), map(&mut xen, rx));
        let channels = Channels::Shared(Port(1));
        let charges = xen.pages().open(DomainId(9)).expect("the first client");
        let netback =
            Netback::connect(DomainId(9), charges, channels, ALL, tx_page, rx_page).expect("rings of zeroes");
        let netfront = Netfront::create(&mut xen, DomainId(8), ALL, Support::No).expect("enough pages");
        let addresses = netfront.addresses();
        let uplink_tx = Ring(xen.granted(table, addresses.tx_ring.0), 12);
        let uplink_rx = Ring(xen.granted(table, addresses.rx_ring.0), 8);
        let settings = Settings::for_memory(16 << 20, UPLINK);
        let mut engine = Engine::new(settings, RuleTable::allow_all(), [7; 32], xen.now());
        engine.attach(SLOT, CLIENT, xen.now());
        xen.memory.write(source, 0, &datagram(bytes, (CLIENT, 5000), (REMOTE, 7)));
        let mut world = Self {
            xen,
            netback,
            netfront,
            engine,
            batch: CopyBatch::with_capacity(512),
            in_flight: InFlight::with_capacity(512),
            arrived: Vec::with_capacity(512),
            lent: Vec::with_capacity(512),
            client_tx: Ring(tx, 12),
            client_rx: Ring(rx, 8),
            uplink_tx,
            uplink_rx,
            table,
            source,
            sink,
            bytes: bytes as u16,
            burst,
            slots,
            at: [0; 4],
            answer: Vec::new(),
            packets: 0,
        };
        for _ in 0..BOUNCE_PAGES {
            let page = world.xen.pages().take(Charge::OWN).expect("enough pages");
            world.batch.bounces.add(page);
        }
        let port = world.up(Shape::Whole);
        world.answer = datagram(bytes, (REMOTE, 7), (UPLINK, port));
        world
    }

    /// The flags of slot `slot` of a packet: the same bit in all rings says that another slot follows.
    fn more(&self, slot: u32) -> u8 {
        if slot + 1 < self.slots { 4 } else { 0 }
    }

    /// A burst from the client to the uplink; the source port it leaves with.
    pub fn up(&mut self, shape: Shape) -> u16 {
        let mut port = 0;
        for slot in (0..self.burst).flat_map(|_| 0..self.slots) {
            let [g0, g1, g2, g3] = self.source.0.to_le_bytes();
            // The first slot says the whole packet's size.
            let size = if slot == 0 { self.bytes * self.slots as u16 } else { self.bytes };
            let ([s0, s1], id) = (size.to_le_bytes(), self.at[0] as u8);
            let entry = [g0, g1, g2, g3, 0, 0, self.more(slot), 0, id, 0, s0, s1];
            self.client_tx.write(&self.xen, self.at[0], &entry);
            self.at[0] = self.at[0].wrapping_add(1);
        }
        self.xen.memory.set_word(self.client_tx.0, REQUESTS, self.at[0]);
        let slots = self.burst * self.slots;
        if shape == Shape::Whole {
            let (batch, in_flight) = (&mut self.batch, &mut self.in_flight);
            batch.bounces.clear();
            let pages = self.xen.pages();
            assert_eq!(self.netback.collect(batch, in_flight, pages, 512, WAY_OUT), Ok(slots as usize));
            port = self.exchange_and_judge();
            self.netfront.transmit(&mut self.xen);
            self.netfront.publish(&mut self.xen);
        }
        for _ in 0..slots {
            let [.., i0, i1, _, _] = self.uplink_tx.read::<12>(&self.xen, self.at[1]);
            self.uplink_tx.write(&self.xen, self.at[1], &[i0, i1, 0, 0]);
            self.at[1] = self.at[1].wrapping_add(1);
        }
        if shape == Shape::Whole {
            self.xen.memory.set_word(self.uplink_tx.0, RESPONSES, self.at[1]);
            self.netfront.reap(&mut self.xen).expect("answers to what was sent");
        }
        self.packets += u64::from(slots);
        port
    }

    /// Runs the copies, and judges what arrived from the client.
    fn exchange_and_judge(&mut self) -> u16 {
        self.xen.copy(&mut self.batch);
        assert!(self.batch.has_succeeded());
        for chunk in self.lent.drain(..) {
            let chunk = self.batch.reclaim(chunk).expect("the batch has run");
            self.xen.pages().give(chunk.page);
        }
        self.netback.settle(&self.batch, &mut self.in_flight, &mut self.xen);
        self.in_flight.settled = 0;
        let (now, mut port) = (self.xen.now(), 0);
        let Self { netback, netfront, xen, engine, batch, lent, .. } = self;
        let mut ways = Ways { netback, netfront, batch, lent, xen, now, port: &mut port };
        for (_, packet) in self.in_flight.collected.drain(..) {
            let frame = match packet {
                Collected::Single(Single { landing, bytes, checksum, .. }) => {
                    let body = match landing {
                        Landing::Bounce(bounce) => Body::Bounce(bounce),
                        Landing::Page(page) => {
                            Body::Page(ways.batch.reclaim(page).expect("the batch has run"), 0)
                        }
                    };
                    match ways.pass_outward(engine, Parcel { body, bytes, checksum }) {
                        Some(parcel) => ways.frame(parcel),
                        None => continue,
                    }
                }
                Collected::Frame(frame) => frame,
                Collected::Several(_) | Collected::Nothing => panic!("nothing is lost here"),
            };
            if self.slots > 1 {
                ways.forward(Side::Uplink, frame, SOMEBODY);
                continue;
            }
            engine.outbound(now, SLOT, frame, &mut ways);
        }
        port
    }

    /// A burst from the uplink to the client.
    pub fn down(&mut self, shape: Shape) {
        for slot in (0..self.burst).flat_map(|_| 0..self.slots) {
            // What the client posts: a buffer of its own for each.
            let sink = HostFrame(self.sink.0 + self.at[2] % BURST);
            let [g0, g1, g2, g3] = sink.0.to_le_bytes();
            self.client_rx.write(&self.xen, self.at[2], &[self.at[2] as u8, 0, 0, 0, g0, g1, g2, g3]);
            self.at[2] = self.at[2].wrapping_add(1);
            let [i0, i1, _, _, g0, g1, g2, g3] = self.uplink_rx.read::<8>(&self.xen, self.at[3]);
            let buffer = match shape {
                Shape::Whole => self.xen.granted(self.table, u32::from_le_bytes([g0, g1, g2, g3])),
                Shape::PeersOnly => self.source,
            };
            self.xen.memory.write(buffer, 0, &self.answer);
            let [s0, s1] = self.bytes.to_le_bytes();
            self.uplink_rx.write(&self.xen, self.at[3], &[i0, i1, 0, 0, self.more(slot), 0, s0, s1]);
            self.at[3] = self.at[3].wrapping_add(1);
        }
        self.xen.memory.set_word(self.client_rx.0, REQUESTS, self.at[2]);
        if shape == Shape::Whole {
            self.xen.memory.set_word(self.uplink_rx.0, RESPONSES, self.at[3]);
            let bounces = &mut self.batch.bounces;
            bounces.clear();
            let received =
                self.netfront.receive(&mut self.xen, bounces, &mut |packet| self.arrived.push(packet));
            received.expect("packets in posted buffers");
            let (now, mut port) = (self.xen.now(), 0);
            let Self { netback, netfront, xen, engine, batch, lent, .. } = self;
            let mut ways = Ways { netback, netfront, batch, lent, xen, now, port: &mut port };
            for packet in self.arrived.drain(..) {
                let frame = match packet {
                    Arrived::Parcel(parcel) if self.slots == 1 => match ways.pass_inward(engine, parcel) {
                        Some(parcel) => ways.frame(parcel),
                        None => continue,
                    },
                    Arrived::Parcel(parcel) => ways.frame(parcel),
                    Arrived::Frame(frame) => frame,
                };
                if self.slots > 1 {
                    ways.forward(Side::Client(SLOT), frame, SOMEBODY);
                    continue;
                }
                engine.inbound(now, frame, &mut ways);
            }
            self.netback
                .deliver(&mut self.batch, &mut self.in_flight, self.xen.pages(), now)
                .expect("enough buffers");
            self.exchange_and_judge();
            self.netfront.publish(&mut self.xen);
        }
        self.packets += u64::from(self.burst * self.slots);
    }
}
