//! A client domain that breaks every rule of rings, grants, event channels and XenStore.

use crate::base::time::Moment;
use crate::sim::cast::KERNEL;
use crate::sim::host::nonsense::Nonsense;
use crate::sim::machine::Machine;
use crate::sim::machine::grants::GrantUse;
use crate::sim::machine::world::{NextRun, Peer};
use crate::sim::peer::buffers::Buffer;
use crate::sim::peer::malformed_slots::malformed_packet;
use crate::sim::peer::ring::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD};
use crate::sim::store::home;
use crate::xen::DomainId;
use crate::xen::page::PAGE_BYTES;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// What fills its pages: it may send whatever it has.
const OWN: u8 = 0x5a;

/// Pages it lends for packets.
const PAGES: usize = 24;

/// Which surfaces it attacks, each so often in thousand steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttackRates {
    /// Ring indices that make no sense.
    pub indices: u64,
    /// Slots changed after they were published.
    pub swaps: u64,
    /// Slots with random fields; the others hold packets.
    pub slots: u64,
    /// Grants revoked, made read-only or given back at any time.
    pub grants: u64,
    /// Random states, garbage keys, directories removed.
    pub store: u64,
    /// Events for nothing, ports closed.
    pub events: u64,
    /// Between two steps, on average.
    pub every: Duration,
}

struct HostileRings {
    tx: Buffer,
    rx: Buffer,
    port: u32,
    produced: u32,
    posted: u32,
}

/// A hostile client.
pub struct HostileClient {
    domain: DomainId,
    mac: [u8; 6],
    address: Ipv4Addr,
    rates: AttackRates,
    until: Moment,
    pages: Vec<Buffer>,
    rings: Option<HostileRings>,
    /// Where it has spoiled a slot, and what was there.
    spoiled: Option<(usize, [u8; 2])>,
}

impl HostileClient {
    /// A hostile client that is quiet from `until` on.
    pub fn new(domain: DomainId, mac: [u8; 6], address: Ipv4Addr, rates: AttackRates, until: Moment) -> Self {
        Self { domain, mac, address, rates, until, pages: Vec::new(), rings: None, spoiled: None }
    }

    fn path(&self, key: &str) -> String {
        format!("{}/device/vif/0/{key}", home(self.domain))
    }

    fn put(&self, machine: &mut Machine, key: &str, value: &str) {
        let directory = format!("{}/device/vif/0", home(self.domain));
        if machine.store.exists(&directory) {
            let _ = machine.store.put(self.domain, &self.path(key), value);
        }
    }

    /// Announces rings, mostly good ones.
    fn announce(&mut self, machine: &mut Machine) {
        if self.rings.is_none() {
            let (Some(tx), Some(rx)) = (
                Buffer::new(machine, self.domain, GrantUse::Write),
                Buffer::new(machine, self.domain, GrantUse::Write),
            ) else {
                return;
            };
            let Ok(port) = machine.channels.allocate(self.domain, KERNEL) else { return };
            let start = *machine.prng.pick(&[0, u32::MAX - 20, 77]);
            for ring in [tx, rx] {
                machine.memory.fill(ring.frame, 0, 4096, 0);
                for (offset, value) in [(REQ_PROD, start), (RSP_PROD, start)] {
                    machine.memory.set_word(ring.frame, offset, value);
                }
                for offset in [REQ_EVENT, RSP_EVENT] {
                    machine.memory.set_word(ring.frame, offset, start.wrapping_add(1));
                }
            }
            self.rings = Some(HostileRings { tx, rx, port, produced: start, posted: start });
        }
        let Some(rings) = &self.rings else { return };
        let mut keys = [
            ("tx-ring-ref", rings.tx.reference),
            ("rx-ring-ref", rings.rx.reference),
            ("event-channel", rings.port),
            ("request-rx-copy", 1),
            ("feature-sg", 1),
            ("feature-no-csum-offload", 0),
        ];
        if machine.prng.chance(self.rates.store) {
            let index = machine.prng.below(keys.len() as u64) as usize;
            keys[index].1 = machine.prng.bits() as u32;
        }
        for (key, value) in keys {
            self.put(machine, key, &format!("{value}"));
        }
        self.put(machine, "state", "4");
    }

    /// Gives rings up without a word.
    fn abandon(&mut self, machine: &mut Machine) {
        self.spoiled = None;
        if let Some(rings) = self.rings.take() {
            machine.channels.close(self.domain, rings.port);
            rings.tx.free(machine, self.domain);
            rings.rx.free(machine, self.domain);
        }
    }

    fn upset_store(&mut self, machine: &mut Machine) {
        match machine.prng.below(13) {
            0..3 => {
                let state = format!("{}", machine.prng.below(10));
                self.put(machine, "state", &state);
            }
            3 => self.put(machine, "state", "garbage \u{1}\u{ff}"),
            4 => {
                let bytes = machine.prng.between(1, 2048) as usize;
                let value = machine.prng.bytes(bytes);
                let key = *machine.prng.pick(&["state", "tx-ring-ref", "event-channel", "feature-sg"]);
                if machine.store.exists(&format!("{}/device/vif/0", home(self.domain))) {
                    let _ = machine.store.write(self.domain, &self.path(key), &value);
                }
            }
            5 => {
                for round in 0..machine.prng.between(1, 200) {
                    self.put(machine, "state", if round % 2 == 0 { "1" } else { "4" });
                }
            }
            6 => {
                let _ = machine.store.remove(self.domain, &self.path("state"));
            }
            7 => {
                // Nodes below the one that is watched: each tells the watcher.
                for child in 0..machine.prng.between(1, 100) {
                    self.put(machine, &format!("state/{child}"), "x");
                }
            }
            8 => {
                for round in 0..machine.prng.between(500, 2000) {
                    self.put(machine, "state", &format!("{}", round % 7));
                }
            }
            9 => {
                // The whole directory is its own to remove.
                let directory = format!("{}/device/vif/0", home(self.domain));
                let _ = machine.store.remove(self.domain, &directory);
            }
            _ => {
                let key = *machine.prng.pick(&["tx-ring-ref", "rx-ring-ref", "event-channel", "mac"]);
                let _ = machine.store.remove(self.domain, &self.path(key));
            }
        }
    }

    fn upset_grants(&mut self, machine: &mut Machine) {
        if self.pages.is_empty() {
            return;
        }
        let page = *machine.prng.pick(&self.pages);
        let flags = match machine.prng.below(4) {
            0 => 0,
            1 => 5 | u32::from(KERNEL.0) << 16,
            2 => 1 | 77 << 16,
            _ => 1 | u32::from(KERNEL.0) << 16,
        };
        machine.set_entry(self.domain, page.reference, flags, page.frame.0);
    }

    /// A transmit slot: of a packet, or of anything.
    fn slot(&self, machine: &mut Machine) -> Vec<u8> {
        let page = *machine.prng.pick(&self.pages);
        let mut entry = Vec::with_capacity(12);
        if machine.prng.chance(self.rates.slots) {
            let reference =
                if machine.prng.chance(800) { page.reference } else { machine.prng.bits() as u32 };
            entry.extend(reference.to_le_bytes());
            let edge = |prng: &mut crate::sim::prng::Prng| {
                *prng.clone().pick(&[0u16, 1, 13, 14, 60, 1514, 4095, 4096, 4097, 0xffff])
                    ^ if prng.chance(300) { prng.bits() as u16 & 0xff } else { 0 }
            };
            for half in [edge(&mut machine.prng), machine.prng.below(16) as u16] {
                entry.extend(half.to_le_bytes());
            }
            for half in [machine.prng.bits() as u16, edge(&mut machine.prng)] {
                entry.extend(half.to_le_bytes());
            }
        } else {
            let frame = Nonsense::make(self.mac, self.address, &mut machine.prng);
            machine.memory.fill(page.frame, 0, 4096, OWN);
            machine.memory.write(page.frame, 0, &frame);
            entry.extend(page.reference.to_le_bytes());
            let flags = machine.prng.below(4) as u16;
            for half in [0, flags, machine.prng.bits() as u16, frame.len() as u16] {
                entry.extend(half.to_le_bytes());
            }
        }
        entry
    }

    fn upset_rings(&mut self, machine: &mut Machine) {
        if self.pages.is_empty() {
            return;
        }
        let mut slots: Vec<Vec<u8>> = (0..machine.prng.between(1, 12)).map(|_| self.slot(machine)).collect();
        if machine.prng.chance(self.rates.slots / 2) {
            let page = machine.prng.pick(&self.pages).reference;
            slots.extend(malformed_packet(page, &mut machine.prng));
        }
        let Some(rings) = &mut self.rings else { return };
        for entry in slots {
            let place = 64 + (rings.produced % 256) as usize * 12;
            machine.memory.write(rings.tx.frame, place, &entry);
            rings.produced = rings.produced.wrapping_add(1);
        }
        if machine.prng.chance(300) {
            let page = *machine.prng.pick(&self.pages);
            let place = 64 + (rings.posted % 256) as usize * 8;
            let id = machine.prng.bits() as u16;
            let entry = [&id.to_le_bytes()[..], &[0, 0], &page.reference.to_le_bytes()].concat();
            machine.memory.write(rings.rx.frame, place, &entry);
            rings.posted = rings.posted.wrapping_add(1);
            machine.memory.set_word(rings.rx.frame, REQ_PROD, rings.posted);
        }
        if machine.prng.chance(self.rates.indices) {
            let ring = if machine.prng.chance(700) { rings.tx.frame } else { rings.rx.frame };
            let jump = *machine.prng.pick(&[256, 257, 300, 0xffff, 1 << 31, u32::MAX]);
            let offset = *machine.prng.pick(&[REQ_PROD, REQ_PROD, RSP_PROD, REQ_EVENT, RSP_EVENT]);
            let value = machine.memory.word(ring, offset).wrapping_add(jump);
            machine.memory.set_word(ring, offset, value);
        } else {
            machine.memory.set_word(rings.tx.frame, REQ_PROD, rings.produced);
        }
        machine.send_event(self.domain, rings.port);
    }

    /// Spoils a field of a slot that the kernel may be reading, and the next time makes it good again: what is
    /// spoiled for long is found by the first look at it, and ends the connection.
    fn swap_slots(&mut self, machine: &mut Machine, read: Option<usize>) {
        let Some(rings) = &self.rings else { return };
        if let Some((place, good)) = self.spoiled.take() {
            return machine.memory.write(rings.tx.frame, place, &good);
        }
        // The slot that the kernel is at, in a field that it has read just now; else the next that it takes, or one
        // of the newest.
        let answered = machine.memory.word(rings.tx.frame, RSP_PROD);
        let near = match (read, machine.prng.below(4)) {
            (Some(read), _) => (read / 12) as u32,
            (None, 0) => rings.produced.wrapping_sub(machine.prng.between(1, 12) as u32),
            (None, _) => answered.wrapping_add(machine.prng.below(4) as u32),
        };
        let (field, value) = match machine.prng.below(3) {
            0 => (10, *machine.prng.pick(&[0u16, 13, 14, 1514, 4096, 0xffff])),
            1 => (6, *machine.prng.pick(&[4u16, 8, 15])),
            _ => (4, *machine.prng.pick(&[4000u16, 4095, 4096, 0xffff])),
        };
        // What it has not read yet it would find spoiled at its first look.
        if read.is_some_and(|read| read % 12 < field / 4 * 4) {
            return;
        }
        let place = 64 + (near % 256) as usize * 12 + field;
        let mut good = [0; 2];
        machine.memory.read(rings.tx.frame, place, &mut good);
        self.spoiled = Some((place, good));
        machine.memory.write(rings.tx.frame, place, &value.to_le_bytes());
    }
}

impl Peer for HostileClient {
    fn on_kernel_access(&mut self, machine: &mut Machine, place: usize) {
        let Some(rings) = &self.rings else { return };
        if machine.memory.frame_at(place) != Some(rings.tx.frame) {
            return;
        }
        if let Some(read) = (place % PAGE_BYTES).checked_sub(64)
            && machine.prng.chance(self.rates.swaps)
        {
            self.swap_slots(machine, Some(read));
        }
    }

    fn domain(&self) -> DomainId {
        self.domain
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        if !machine.domains.contains_key(&self.domain) {
            return NextRun::Gone;
        }
        if self.pages.is_empty() {
            self.pages =
                (0..PAGES).filter_map(|_| Buffer::new(machine, self.domain, GrantUse::Write)).collect();
            for page in &self.pages {
                machine.memory.fill(page.frame, 0, 4096, OWN);
            }
        }
        if machine.now >= self.until {
            self.abandon(machine);
            return NextRun::Asleep;
        }
        let backend = machine
            .store
            .text(self.domain, &format!("{}/backend/vif/{}/0/state", home(KERNEL), self.domain.0));
        match backend.as_str() {
            "2" => self.announce(machine),
            "4" => {
                if machine.prng.chance(self.rates.grants) {
                    self.upset_grants(machine);
                }
                self.upset_rings(machine);
            }
            "6" if machine.prng.chance(300) => {
                self.abandon(machine);
                self.put(machine, "state", "1");
            }
            _ => {}
        }
        if machine.prng.chance(self.rates.swaps) {
            self.swap_slots(machine, None);
        }
        if machine.prng.chance(self.rates.store / 20) {
            self.upset_store(machine);
        }
        if let Some(rings) = &self.rings
            && machine.prng.chance(self.rates.events)
        {
            for _ in 0..machine.prng.between(1, 50) {
                machine.send_event(self.domain, rings.port);
            }
            if machine.prng.chance(10) {
                machine.channels.close(self.domain, rings.port);
            }
        }
        // It may attack at every moment at which the kernel looks.
        let wait = machine.prng.below(self.rates.every.as_nanos() as u64 * 2);
        if machine.prng.chance(if self.rates.swaps > 900 { 800 } else { 200 }) {
            NextRun::Again
        } else {
            NextRun::Until(machine.now + Duration::from_nanos(wait))
        }
    }
}
