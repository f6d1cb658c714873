//! A host that sends what no host should: malformed at every layer, floods, spoofed addresses, fragments.

use super::Host;
use super::frame::{finish, frame};
use crate::base::time::Moment;
use crate::kernel::egress::GATEWAY_MAC;
use crate::sim::dice::Dice;
use crate::sim::ledger::Ledger;
use crate::sim::model::WILD;
use crate::sim::rules::FORBIDDEN;
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
    pub fn make(mac: [u8; 6], address: Ipv4Addr, dice: &mut Dice) -> Vec<u8> {
        let wild = Ipv4Addr::new(WILD[0], WILD[1], WILD[2], dice.bits() as u8);
        let to = if dice.chance(300) { FORBIDDEN } else { wild };
        let from = if dice.chance(100) { Ipv4Addr::from_bits(dice.bits() as u32) } else { address };
        let protocol = *dice.pick(&[6u8, 6, 17, 17, 1, 1, 47, 50, 2, 255]);
        let options = if dice.chance(200) { dice.below(11) as usize * 4 } else { 0 };
        let mut packet = packet(from, to, protocol, options, dice);
        if dice.chance(150) {
            // A fragment: any offset, more to come or not.
            let field = (dice.below(0x2000) as u16) | if dice.chance(500) { 0x2000 } else { 0 };
            packet[6..8].copy_from_slice(&field.to_be_bytes());
        }
        if dice.chance(100) {
            packet[8] = dice.below(2) as u8;
        }
        finish(&mut packet);
        match dice.below(10) {
            // A wrong header checksum, length or version.
            0 => {
                let at = dice.below(20) as usize;
                packet[at] ^= dice.between(1, 255) as u8;
                // Where it goes must stay known.
                packet[16..20].copy_from_slice(&to.octets());
            }
            1 => packet.truncate(dice.below(packet.len() as u64) as usize),
            2 => {
                let from = 20 + options;
                if packet.len() > from {
                    let at = from + dice.below((packet.len() - from) as u64) as usize;
                    packet[at] ^= dice.between(1, 255) as u8;
                }
            }
            _ => {}
        }
        let destination = if dice.chance(50) { [0xff; 6] } else { GATEWAY_MAC.0 };
        let source = if dice.chance(50) { dice.bytes(6).try_into().unwrap_or(mac) } else { mac };
        let mut frame = frame(destination, source, &packet);
        match dice.below(30) {
            0 => frame[12..14].copy_from_slice(&[8, 6]),
            1 => frame[12..14].copy_from_slice(&(dice.bits() as u16).to_be_bytes()),
            2 => frame.truncate(dice.between(14, 40) as usize),
            _ => {}
        }
        frame
    }
}

/// A packet with a plausible layer-4 header.
pub(super) fn packet(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, options: usize, dice: &mut Dice) -> Vec<u8> {
    let payload = dice.below(*dice.clone().pick(&[0, 8, 64, 1400])) as usize;
    let mut layer4: Vec<u8> = Vec::new();
    match protocol {
        6 => {
            layer4.extend(dice.bytes(12));
            layer4.extend([(dice.between(3, 15) << 4) as u8, *dice.pick(&[2, 2, 2, 16, 18, 4, 1, 0, 63])]);
            layer4.extend(dice.bytes(6));
        }
        17 => {
            layer4.extend(dice.bytes(4));
            let length = if dice.chance(100) { dice.bits() as u16 } else { 8 + payload as u16 };
            layer4.extend(length.to_be_bytes());
            layer4.extend([0, 0]);
        }
        1 => {
            layer4.extend([*dice.pick(&[8, 8, 0, 3, 5, 11, 12, 13]), dice.below(16) as u8, 0, 0]);
            layer4.extend(dice.bytes(4));
        }
        _ => {}
    }
    layer4.extend(dice.bytes(payload));
    let header = 20 + options;
    let total = (header + layer4.len()) as u16;
    let mut packet = Vec::with_capacity(total.into());
    packet.extend([0x40 | (header / 4) as u8, dice.bits() as u8]);
    packet.extend(total.to_be_bytes());
    packet.extend(dice.bytes(2));
    packet.extend([*dice.pick(&[0, 0x40]), 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(dice.bytes(options));
    packet.extend(layer4);
    packet
}

impl Host for Nonsense {
    fn receive(&mut self, _: Vec<u8>) {}

    fn poll(&mut self, now: Moment, _: &mut Ledger, dice: &mut Dice) {
        if now >= self.next && now < self.until && self.leaving.len() < 64 {
            for _ in 0..dice.between(1, 8) {
                self.leaving.push_back(Self::make(self.mac, self.address, dice));
            }
            self.next = now + Duration::from_nanos(dice.between(1, self.every.as_nanos() as u64 * 2));
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
