//! What both benchmarks do: a firewall full of flows, and one packet at a time through it.
#![allow(dead_code, missing_docs)]

pub mod memory;
pub mod rules;

use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::{ClientSlot, Side};
use ravelin::base::tick::{Seconds, Tick};
use ravelin::base::time::Moment;
use ravelin::engine::{Engine, Output, Progress, Settings};
use ravelin::guard::RuleTable;
use ravelin::nat::mapping::MappingLimits;
use ravelin::nat::mapping_table::Mappings;
use ravelin::nat::ports::PoolKind;
use ravelin::tables::allowance::Rate;
use ravelin::wire::ipv4::Ipv4;
use ravelin::wire::packet::{Checksum, Offload, Original, Packet};
use std::net::Ipv4Addr;
use std::time::Duration;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 11);
const UPLINK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const SLOT: ClientSlot = ClientSlot(1);

/// A packet of 1,500 bytes of which the first 64 are here.
#[derive(Clone, Copy)]
pub struct Frame {
    pub bytes: [u8; 64],
    total: usize,
}

impl Packet for Frame {
    fn header(&self) -> &[u8] {
        &self.bytes
    }

    fn header_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn total_bytes(&self) -> usize {
        self.total
    }

    fn offload(&self) -> Offload {
        Offload { checksum: Checksum::Validated, gso: None }
    }

    fn original(&self) -> Option<Original> {
        None
    }

    fn set_offload(&mut self, _: Offload) {}
}

/// Keeps the last packet that left.
#[derive(Default)]
pub struct Sink {
    pub last: Option<Frame>,
    pub forwarded: u64,
    pub discarded: u64,
}

impl Output<Frame> for Sink {
    fn admit(&mut self, _: Side, packet: &mut Frame, ip: &Ipv4) -> Result<(), DropReason> {
        packet.total = ip.total_bytes.into();
        Ok(())
    }

    fn forward(&mut self, _: Side, packet: Frame, _: Ipv4Addr) {
        self.forwarded += 1;
        self.last = Some(packet);
    }

    fn reply(&mut self, _: Side, _: &[u8], _: Ipv4Addr) {}

    fn fragment(&mut self, _: Side, packet: Frame, _: &Ipv4, _: u16) {
        self.last = Some(packet);
    }

    fn discard(&mut self, _: Frame, _: DropReason) {
        self.discarded += 1;
    }
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// A TCP segment; its layer-4 sum is any.
fn segment(
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    flags: u8,
    sequence: u32,
    ack: u32,
    total: usize,
) -> Frame {
    let mut bytes = [0; 64];
    bytes[0] = 0x45;
    put(&mut bytes, 2, total as u16);
    put(&mut bytes, 6, 0x4000);
    bytes[8] = 64;
    bytes[9] = 6;
    bytes[12..16].copy_from_slice(&from.0.octets());
    bytes[16..20].copy_from_slice(&to.0.octets());
    put(&mut bytes, 20, from.1);
    put(&mut bytes, 22, to.1);
    bytes[24..28].copy_from_slice(&sequence.to_be_bytes());
    bytes[28..32].copy_from_slice(&ack.to_be_bytes());
    bytes[32] = 5 << 4;
    bytes[33] = flags;
    put(&mut bytes, 34, 8192);
    put(&mut bytes, 36, 0x1234);
    let sum = ravelin::wire::checksum::of(&bytes[..20]);
    put(&mut bytes, 10, sum);
    Frame { bytes, total }
}

/// A firewall with flows, and where the next packet goes.
pub struct Scene {
    engine: Engine<Frame>,
    now: Moment,
    sink: Sink,
    /// Outer port of each inner one.
    outer: Vec<u16>,
    flows: u32,
    at: u32,
    outward: Frame,
    inward: Frame,
    fresh: u32,
}

/// Inner ports that the flows use; each talks to several remote ports.
const INNER_PORTS: u32 = 4096;

impl Scene {
    /// `flows` established TCP connections of one client.
    pub fn established(flows: u32) -> Scene {
        let mut settings = Settings::for_memory(64 << 20, UPLINK);
        settings.flows = flows + flows / 4 + 1024;
        settings.quotas.flows_per_client = settings.flows;
        settings.quotas.new_flows = Rate { per_second: 1_000_000_000, burst: 1_000_000_000 };
        let now = Moment::from_nanoseconds(1_000_000_000);
        let mut engine = Engine::new(settings, RuleTable::allow_all(), [7; 32], now);
        engine.attach(SLOT, CLIENT, now);
        let outward = segment((CLIENT, 0), (REMOTE, 0), 0x10, 1001, 5001, 1500);
        let inward = segment((REMOTE, 0), (UPLINK, 0), 0x10, 5001, 1001, 1500);
        let mut scene = Scene {
            engine,
            now,
            sink: Sink::default(),
            outer: vec![],
            flows,
            at: 0,
            outward,
            inward,
            fresh: 0,
        };
        for flow in 0..flows {
            let (inner, remote) = scene.ports(flow);
            let outer = scene.open(inner, remote);
            if flow < INNER_PORTS {
                scene.outer.push(outer);
            }
        }
        assert_eq!(scene.engine.engine().flows().len(), flows as usize);
        scene
    }

    fn ports(&self, flow: u32) -> (u16, u16) {
        (20_000 + (flow % INNER_PORTS) as u16, 1 + (flow / INNER_PORTS) as u16)
    }

    /// A handshake; returns the outer port.
    fn open(&mut self, inner: u16, remote: u16) -> u16 {
        let (client, server) = ((CLIENT, inner), (REMOTE, remote));
        self.outbound(segment(client, server, 0x02, 1000, 0, 40));
        let left = self.sink.last.take().unwrap();
        let outer = u16::from_be_bytes([left.bytes[20], left.bytes[21]]);
        self.inbound(segment(server, (UPLINK, outer), 0x12, 5000, 1001, 40));
        self.outbound(segment(client, server, 0x10, 1001, 5001, 40));
        outer
    }

    fn outbound(&mut self, frame: Frame) {
        self.engine.outbound(self.now, SLOT, frame, &mut self.sink);
    }

    fn inbound(&mut self, frame: Frame) {
        self.engine.inbound(self.now, frame, &mut self.sink);
    }

    /// A flow in an order that no cache foresees.
    fn next_flow(&mut self) -> u32 {
        self.at = self.at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(self.at) * u64::from(self.flows)) >> 32) as u32
    }

    /// Every n-th packet, time goes on by n microseconds or so.
    fn tick(&mut self) {
        self.now = self.now + Duration::from_micros(1);
    }

    /// A full-size segment of a client on any flow.
    pub fn outward(&mut self) {
        let flow = self.next_flow();
        let (inner, remote) = self.ports(flow);
        self.tick();
        let mut frame = self.outward;
        put(&mut frame.bytes, 20, inner);
        put(&mut frame.bytes, 22, remote);
        self.outbound(frame);
    }

    /// A full-size segment from the uplink on any flow.
    pub fn inward(&mut self) {
        let flow = self.next_flow();
        let (inner, remote) = self.ports(flow);
        self.tick();
        let mut frame = self.inward;
        put(&mut frame.bytes, 20, remote);
        put(&mut frame.bytes, 22, self.outer[usize::from(inner - 20_000)]);
        self.inbound(frame);
    }

    /// Only what `outward` does around the firewall.
    pub fn nothing(&mut self) {
        let flow = self.next_flow();
        let (inner, remote) = self.ports(flow);
        self.tick();
        let mut frame = self.outward;
        put(&mut frame.bytes, 20, inner);
        put(&mut frame.bytes, 22, remote);
        self.sink.forward(Side::Uplink, frame, REMOTE);
    }

    /// A connection opened, and reset by the client, in four packets; it makes room for itself when the table
    /// is full of such.
    pub fn open_and_close(&mut self) {
        self.fresh += 1;
        let inner = 30_000 + (self.fresh % 20_000) as u16;
        let remote = 5_000 + (self.fresh / 20_000 % 50_000) as u16;
        self.tick();
        self.open(inner, remote);
        self.outbound(segment((CLIENT, inner), (REMOTE, remote), 0x04, 1001, 0, 40));
    }

    /// Packets that were forwarded; all must have been.
    pub fn forwarded(&self) -> u64 {
        assert_eq!(self.sink.discarded, 0);
        self.sink.forwarded
    }

    /// Opens `count` UDP flows to be expired.
    pub fn with_idle(count: u32) -> Scene {
        let mut scene = Scene::established(0);
        let mut settings = Settings::for_memory(64 << 20, UPLINK);
        settings.quotas.new_flows = Rate { per_second: 1_000_000_000, burst: 1_000_000_000 };
        scene.engine = Engine::new(settings, RuleTable::allow_all(), [7; 32], scene.now);
        scene.engine.attach(SLOT, CLIENT, scene.now);
        for flow in 0..count {
            let (inner, remote) = scene.ports(flow);
            scene.outbound(segment((CLIENT, inner), (REMOTE, remote), 0x02, 1000, 0, 40));
            // Some every second, so that many buckets of the wheel are used.
            if flow % 1000 == 0 {
                scene.now = scene.now + Duration::from_secs(1);
            }
        }
        scene
    }

    /// Lets everything expire.
    pub fn expire(&mut self) -> u64 {
        self.now = self.now + Duration::from_secs(10_000);
        while self.engine.advance(self.now, &mut self.sink) == Progress::MoreToDo {}
        self.engine.counters().expired
    }
}

/// A port pool at some occupancy.
pub struct Ports {
    mappings: Mappings,
    next: u16,
}

impl Ports {
    /// All but `free` ports of the TCP pool taken by one client.
    pub fn with_free(free: usize) -> Ports {
        let limits = MappingLimits { mappings: 200_000, ports_per_client: 65_536 };
        let mut mappings = Mappings::new(limits, 1024..=1024, Seconds(0), [(1, 2), (3, 4)]);
        // Three clients, since none may have more than three quarters.
        let mut slot = 0;
        let mut inner = 1024;
        while mappings.free(PoolKind::TcpHigh) > free {
            if inner == 20_000 {
                slot += 1;
                inner = 1024;
            }
            mappings.acquire(ClientSlot(slot), PoolKind::TcpHigh, inner, Tick(1)).unwrap();
            inner += 1;
        }
        Ports { mappings, next: 0 }
    }

    /// Takes a port for an endpoint and gives it back, which then rests no longer.
    pub fn take_and_give(&mut self) -> bool {
        self.next = self.next.wrapping_add(1) % 30_000;
        match self.mappings.acquire(ClientSlot(99), PoolKind::TcpHigh, 1024 + self.next, Tick(1)) {
            Ok((id, _)) => {
                self.mappings.release(id, Tick(1));
                self.mappings.free_released(Tick(2), 1);
                true
            }
            Err(_) => false,
        }
    }
}
