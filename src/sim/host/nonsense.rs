//! A host that sends what no host should: malformed at every layer, floods, spoofed addresses, fragments.

use crate::base::time::Moment;
use crate::kernel::egress::GATEWAY_MAC;
use crate::sim::cast::{FORBIDDEN, NONSENSE_NETWORK};
use crate::sim::frame::{finish, frame};
use crate::sim::host::Host;
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// A sender of nonsense.
pub struct Nonsense {
    mac: [u8; 6],
    address: Ipv4Addr,
    every: Duration,
    next: Moment,
    until: Moment,
    leaving: VecDeque<Vec<u8>>,
}

impl Nonsense {
    /// Sends something about `every` so often until `until`.
    pub fn new(mac: [u8; 6], address: Ipv4Addr, every: Duration, until: Moment) -> Self {
        Self { mac, address, every, next: Moment::default(), until, leaving: VecDeque::new() }
    }

    /// One frame of nonsense.
    pub fn make(mac: [u8; 6], address: Ipv4Addr, prng: &mut Prng) -> Vec<u8> {
        let wild =
            Ipv4Addr::new(NONSENSE_NETWORK[0], NONSENSE_NETWORK[1], NONSENSE_NETWORK[2], prng.bits() as u8);
        let to = if prng.chance(300) { FORBIDDEN } else { wild };
        let from = if prng.chance(100) { Ipv4Addr::from_bits(prng.bits() as u32) } else { address };
        let protocol = *prng.pick(&[6u8, 6, 17, 17, 1, 1, 47, 50, 2, 255]);
        let options = if prng.chance(200) { prng.below(11) as usize * 4 } else { 0 };
        let mut packet = packet(from, to, protocol, options, prng);
        if prng.chance(150) {
            // A fragment: any offset, more to come or not.
            let field = (prng.below(0x2000) as u16) | if prng.chance(500) { 0x2000 } else { 0 };
            packet[6..8].copy_from_slice(&field.to_be_bytes());
        }
        if prng.chance(100) {
            packet[8] = prng.below(2) as u8;
        }
        finish(&mut packet);
        match prng.below(10) {
            // A wrong header checksum, length or version.
            0 => {
                let at = prng.below(20) as usize;
                packet[at] ^= prng.between(1, 255) as u8;
                // Where it goes must stay known.
                packet[16..20].copy_from_slice(&to.octets());
            }
            1 => packet.truncate(prng.below(packet.len() as u64) as usize),
            2 => {
                let from = 20 + options;
                if packet.len() > from {
                    let at = from + prng.below((packet.len() - from) as u64) as usize;
                    packet[at] ^= prng.between(1, 255) as u8;
                }
            }
            _ => {}
        }
        let destination = if prng.chance(50) { [0xff; 6] } else { GATEWAY_MAC.0 };
        let source = if prng.chance(50) { prng.bytes(6).try_into().unwrap_or(mac) } else { mac };
        let mut frame = frame(destination, source, &packet);
        match prng.below(30) {
            0 => frame[12..14].copy_from_slice(&[8, 6]),
            1 => frame[12..14].copy_from_slice(&(prng.bits() as u16).to_be_bytes()),
            2 => frame.truncate(prng.between(14, 40) as usize),
            _ => {}
        }
        frame
    }
}

/// A packet with a plausible layer-4 header.
pub(in crate::sim) fn packet(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    options: usize,
    prng: &mut Prng,
) -> Vec<u8> {
    let payload = prng.below(*prng.clone().pick(&[0, 8, 64, 1400])) as usize;
    let mut layer4: Vec<u8> = Vec::new();
    match protocol {
        6 => {
            layer4.extend(prng.bytes(12));
            layer4.extend([(prng.between(3, 15) << 4) as u8, *prng.pick(&[2, 2, 2, 16, 18, 4, 1, 0, 63])]);
            layer4.extend(prng.bytes(6));
        }
        17 => {
            layer4.extend(prng.bytes(4));
            let length = if prng.chance(100) { prng.bits() as u16 } else { 8 + payload as u16 };
            layer4.extend(length.to_be_bytes());
            layer4.extend([0, 0]);
        }
        1 => {
            layer4.extend([*prng.pick(&[8, 8, 0, 3, 5, 11, 12, 13]), prng.below(16) as u8, 0, 0]);
            layer4.extend(prng.bytes(4));
        }
        _ => {}
    }
    layer4.extend(prng.bytes(payload));
    let header = 20 + options;
    let total = (header + layer4.len()) as u16;
    let mut packet = Vec::with_capacity(total.into());
    packet.extend([0x40 | (header / 4) as u8, prng.bits() as u8]);
    packet.extend(total.to_be_bytes());
    packet.extend(prng.bytes(2));
    packet.extend([*prng.pick(&[0, 0x40]), 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(prng.bytes(options));
    packet.extend(layer4);
    packet
}

impl Host for Nonsense {
    fn receive(&mut self, _: Vec<u8>) {}

    fn poll(&mut self, now: Moment, _: &mut Ledger, prng: &mut Prng) {
        if now >= self.next && now < self.until && self.leaving.len() < 64 {
            for _ in 0..prng.between(1, 8) {
                self.leaving.push_back(Self::make(self.mac, self.address, prng));
            }
            self.next = now + Duration::from_nanos(prng.between(1, self.every.as_nanos() as u64 * 2));
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
