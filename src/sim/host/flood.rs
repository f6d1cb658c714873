//! A host that keeps to every protocol and sends far too much of one thing.

use crate::base::time::Moment;
use crate::kernel::egress::GATEWAY_MAC;
use crate::sim::cast::NONSENSE_NETWORK;
use crate::sim::frame::{finish, frame};
use crate::sim::host::Host;
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// What it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloodKind {
    /// TCP connections that it never completes, each from another port.
    Syn,
    /// UDP datagrams, each a flow of its own.
    Datagrams,
    /// Pings, each with another identifier.
    Pings,
    /// First fragments whose datagrams never become whole.
    Fragments,
    /// Packets with as many IP options as fit.
    Options,
    /// Datagrams to every address of the uplink's network, where nobody is.
    Scan,
}

impl FloodKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Syn, Self::Datagrams, Self::Pings, Self::Fragments, Self::Options, Self::Scan];
}

/// A flooder.
pub struct Flood {
    kind: FloodKind,
    mac: [u8; 6],
    address: Ipv4Addr,
    burst: Burst,
    next: Moment,
    until: Moment,
    sent: u32,
    leaving: VecDeque<Vec<u8>>,
}

/// How it comes.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Frames at once: many fill a ring again and again.
    pub frames: usize,
    /// Between two bursts, on average.
    pub every: Duration,
}

impl Flood {
    /// Sends bursts of `kind` until `until`.
    pub fn new(kind: FloodKind, mac: [u8; 6], address: Ipv4Addr, burst: Burst, until: Moment) -> Self {
        let (next, sent, leaving) = (Moment::default(), 0, VecDeque::new());
        Self { kind, mac, address, burst, next, until, sent, leaving }
    }

    fn make(&mut self, prng: &mut Prng) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        let [high, low] = (self.sent as u16).to_be_bytes();
        let bytes = prng.below(64) as usize;
        let (protocol, layer4) = match self.kind {
            FloodKind::Syn => {
                let [s0, s1, s2, s3] = (prng.bits() as u32).to_be_bytes();
                let head = [high, low, 1, 187, s0, s1, s2, s3, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0];
                (6, head.to_vec())
            }
            FloodKind::Pings => (1, [&[8, 0, 0, 0, high, low, 0, 1][..], &prng.bytes(bytes)].concat()),
            FloodKind::Datagrams | FloodKind::Fragments | FloodKind::Options | FloodKind::Scan => {
                let length = (8 + bytes as u16).to_be_bytes();
                let head = [high, low, 0x27, 0x0f, length[0], length[1], 0, 0];
                (17, [&head[..], &prng.bytes(bytes)].concat())
            }
        };
        // Record route, as long as it can be, and no operation.
        let options = [&[7, 39, 4][..], &[0; 36], &[1]].concat();
        let options = if self.kind == FloodKind::Options { &options[..] } else { &[] };
        // A fragment's payload is a multiple of eight.
        let kept = if self.kind == FloodKind::Fragments { layer4.len() & !7 } else { layer4.len() };
        let header = 20 + options.len();
        let total = ((header + kept) as u16).to_be_bytes();
        let mut packet = alloc::vec![0x40 | (header / 4) as u8, 0, total[0], total[1], high, low];
        packet.extend([if self.kind == FloodKind::Fragments { 0x20 } else { 0 }, 0, 64, protocol, 0, 0]);
        packet.extend(self.address.octets());
        packet.extend(match self.kind {
            // Our address and the gateway's come before these.
            FloodKind::Scan => [10, 0, 0, 3 + (self.sent % 252) as u8],
            _ => [
                NONSENSE_NETWORK[0],
                NONSENSE_NETWORK[1],
                NONSENSE_NETWORK[2],
                1 + (self.sent >> 16) as u8 % 250,
            ],
        });
        packet.extend(options);
        packet.extend(layer4.get(..kept).unwrap_or_default());
        finish(&mut packet);
        frame(GATEWAY_MAC.0, self.mac, &packet)
    }
}

impl Host for Flood {
    fn receive(&mut self, _: Vec<u8>) {}

    fn poll(&mut self, now: Moment, _: &mut Ledger, prng: &mut Prng) {
        if now >= self.next && now < self.until && self.leaving.len() < self.burst.frames {
            for _ in 0..self.burst.frames {
                let frame = self.make(prng);
                self.leaving.push_back(frame);
            }
            self.next = now + Duration::from_nanos(prng.between(1, self.burst.every.as_nanos() as u64 * 2));
        }
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        self.leaving.pop_front()
    }

    fn deadline(&mut self, now: Moment) -> Option<Moment> {
        (now < self.until).then_some(self.next)
    }

    fn is_honest(&self) -> bool {
        false
    }
}
