//! A network that also lets through what hostile hosts on it send to the firewall: malformed packets, strays
//! of connections that never were, forged errors, fragments, and packets that claim to come from clients.

use crate::base::time::Moment;
use crate::sim::cast::NONSENSE_NETWORK;
use crate::sim::frame::{finish, frame};
use crate::sim::host::Host;
use crate::sim::host::nonsense::packet;
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// Who is attacked.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The firewall's Ethernet address on the uplink.
    pub mac: [u8; 6],
    /// Its IP address there.
    pub address: Ipv4Addr,
    /// An address of a client.
    pub client: Ipv4Addr,
    /// A host that clients talk to: forged errors quote packets to it.
    pub server: Ipv4Addr,
}

/// A network with hostile hosts on it.
pub struct Outside {
    network: Box<dyn Host>,
    target: Target,
    every: Duration,
    next: Moment,
    until: Moment,
    leaving: VecDeque<Vec<u8>>,
}

impl Outside {
    /// `network`, from which `target` is attacked about `every` so often until `until`.
    pub fn new(network: Box<dyn Host>, target: Target, every: Duration, until: Moment) -> Self {
        Self { network, target, every, next: Moment::default(), until, leaving: VecDeque::new() }
    }

    fn make(&self, prng: &mut Prng) -> Vec<u8> {
        let wild =
            Ipv4Addr::new(NONSENSE_NETWORK[0], NONSENSE_NETWORK[1], NONSENSE_NETWORK[2], prng.bits() as u8);
        let from = match prng.below(10) {
            0 => self.target.client,
            1 => self.target.address,
            2 => *prng.pick(&[Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST]),
            _ => wild,
        };
        let to = match prng.below(10) {
            0 => self.target.client,
            1 => Ipv4Addr::new(10, 0, 0, 255),
            2 => Ipv4Addr::new(224, 0, 0, 1),
            _ => self.target.address,
        };
        let protocol = *prng.pick(&[6u8, 6, 17, 17, 1, 1, 47, 50, 2, 255]);
        let options = if prng.chance(200) { prng.below(11) as usize * 4 } else { 0 };
        let mut bytes = if prng.chance(200) {
            self.forged_error(wild, prng)
        } else {
            packet(from, to, protocol, options, prng)
        };
        if prng.chance(150) {
            let field = (prng.below(0x2000) as u16) | if prng.chance(500) { 0x2000 } else { 0 };
            bytes[6..8].copy_from_slice(&field.to_be_bytes());
        }
        finish(&mut bytes);
        match prng.below(8) {
            0 => {
                let at = prng.below(bytes.len().min(60) as u64) as usize;
                // Where it comes from stays known: nobody forges the servers here.
                if !(12..16).contains(&at) {
                    bytes[at] ^= prng.between(1, 255) as u8;
                }
            }
            1 => bytes.truncate(prng.below(bytes.len() as u64) as usize),
            _ => {}
        }
        let mut frame = frame(self.target.mac, [2, 0, 0, 0, 0, 9], &bytes);
        match prng.below(30) {
            0 => frame[12..14].copy_from_slice(&[8, 6]),
            1 => frame[12..14].copy_from_slice(&(prng.bits() as u16).to_be_bytes()),
            2 => frame[..6].copy_from_slice(&prng.bytes(6)),
            3 => frame.truncate(prng.between(14, 40) as usize),
            _ => {}
        }
        frame
    }

    /// An ICMP error that quotes a packet which the firewall may or may not have sent.
    fn forged_error(&self, from: Ipv4Addr, prng: &mut Prng) -> Vec<u8> {
        let mut quoted = packet(self.target.address, self.target.server, *prng.pick(&[6, 17, 1]), 0, prng);
        finish(&mut quoted);
        quoted.truncate(prng.between(0, 64) as usize);
        let mut error = packet(from, self.target.address, 1, 0, prng);
        error.truncate(20);
        error.extend([*prng.pick(&[3, 4, 5, 11, 12]), prng.below(16) as u8, 0, 0, 0, 0]);
        error.extend((prng.bits() as u16).to_be_bytes());
        error.extend(quoted);
        let total = (error.len() as u16).to_be_bytes();
        error[2..4].copy_from_slice(&total);
        error
    }
}

impl Host for Outside {
    fn receive(&mut self, frame: Vec<u8>) {
        self.network.receive(frame);
    }

    fn poll(&mut self, now: Moment, ledger: &mut Ledger, prng: &mut Prng) {
        self.network.poll(now, ledger, prng);
        if now >= self.next && now < self.until && self.leaving.len() < 64 {
            for _ in 0..prng.between(1, 6) {
                let frame = self.make(prng);
                self.leaving.push_back(frame);
            }
            self.next = now + Duration::from_nanos(prng.between(1, self.every.as_nanos() as u64 * 2));
        }
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        self.leaving.pop_front().or_else(|| self.network.transmit())
    }

    fn deadline(&mut self, now: Moment) -> Option<Moment> {
        let own = (now < self.until).then_some(self.next);
        own.into_iter().chain(self.network.deadline(now)).min()
    }
}
