//! A network that also lets through what hostile hosts on it send to the firewall: malformed packets, strays
//! of connections that never were, forged errors, fragments, and packets that claim to come from clients.

use super::Host;
use super::frame::{finish, frame};
use super::nonsense::packet;
use crate::base::time::Moment;
use crate::sim::dice::Dice;
use crate::sim::ledger::Ledger;
use crate::sim::model::WILD;
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

    fn make(&self, dice: &mut Dice) -> Vec<u8> {
        let wild = Ipv4Addr::new(WILD[0], WILD[1], WILD[2], dice.bits() as u8);
        let from = match dice.below(10) {
            0 => self.target.client,
            1 => self.target.address,
            2 => *dice.pick(&[Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST]),
            _ => wild,
        };
        let to = match dice.below(10) {
            0 => self.target.client,
            1 => Ipv4Addr::new(10, 0, 0, 255),
            2 => Ipv4Addr::new(224, 0, 0, 1),
            _ => self.target.address,
        };
        let protocol = *dice.pick(&[6u8, 6, 17, 17, 1, 1, 47, 50, 2, 255]);
        let options = if dice.chance(200) { dice.below(11) as usize * 4 } else { 0 };
        let mut bytes = if dice.chance(200) {
            self.forged_error(wild, dice)
        } else {
            packet(from, to, protocol, options, dice)
        };
        if dice.chance(150) {
            let field = (dice.below(0x2000) as u16) | if dice.chance(500) { 0x2000 } else { 0 };
            bytes[6..8].copy_from_slice(&field.to_be_bytes());
        }
        finish(&mut bytes);
        match dice.below(8) {
            0 => {
                let at = dice.below(bytes.len().min(60) as u64) as usize;
                // Where it comes from stays known: nobody forges the servers here.
                if !(12..16).contains(&at) {
                    bytes[at] ^= dice.between(1, 255) as u8;
                }
            }
            1 => bytes.truncate(dice.below(bytes.len() as u64) as usize),
            _ => {}
        }
        let mut frame = frame(self.target.mac, [2, 0, 0, 0, 0, 9], &bytes);
        match dice.below(30) {
            0 => frame[12..14].copy_from_slice(&[8, 6]),
            1 => frame[12..14].copy_from_slice(&(dice.bits() as u16).to_be_bytes()),
            2 => frame[..6].copy_from_slice(&dice.bytes(6)),
            3 => frame.truncate(dice.between(14, 40) as usize),
            _ => {}
        }
        frame
    }

    /// An ICMP error that quotes a packet which the firewall may or may not have sent.
    fn forged_error(&self, from: Ipv4Addr, dice: &mut Dice) -> Vec<u8> {
        let mut quoted = packet(self.target.address, self.target.server, *dice.pick(&[6, 17, 1]), 0, dice);
        finish(&mut quoted);
        quoted.truncate(dice.between(0, 64) as usize);
        let mut error = packet(from, self.target.address, 1, 0, dice);
        error.truncate(20);
        error.extend([*dice.pick(&[3, 4, 5, 11, 12]), dice.below(16) as u8, 0, 0, 0, 0]);
        error.extend((dice.bits() as u16).to_be_bytes());
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

    fn poll(&mut self, now: Moment, ledger: &mut Ledger, dice: &mut Dice) {
        self.network.poll(now, ledger, dice);
        if now >= self.next && now < self.until && self.leaving.len() < 64 {
            for _ in 0..dice.between(1, 6) {
                let frame = self.make(dice);
                self.leaving.push_back(frame);
            }
            self.next = now + Duration::from_nanos(dice.between(1, self.every.as_nanos() as u64 * 2));
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
