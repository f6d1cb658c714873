//! The rings of a Linux-like frontend while they are connected: what goes out in which slots, and what comes
//! back. Checks every answer of the kernel as Linux's netfront does, and more.

use crate::sim::cast::KERNEL;
use crate::sim::frame;
use crate::sim::frame::gso::{GsoFrame, cuts};
use crate::sim::host::Host;
use crate::sim::machine::Machine;
use crate::sim::machine::grants::GrantUse;
use crate::sim::oracle::marks::{is_mark, mark};
use crate::sim::peer::buffers::Buffer;
use crate::sim::peer::ring::{REQ_PROD, Ring, SIZE};
use crate::xen::DomainId;
use crate::xen::page::PAGE_BYTES;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

const CSUM_BLANK: u16 = 1;
const VALIDATED: u16 = 2;
const MORE: u16 = 4;
const EXTRA: u16 = 8;
const NULL: i16 = 1;
const RX_VALIDATED: u16 = 1;
const RX_BLANK: u16 = 2;
const RX_MORE: u16 = 4;

/// Batches of copies that the kernel runs at most without a slot of a client that waits. One takes the slots
/// of one client at least, and there are fewer than ten.
const MOST_BATCHES: u64 = 50;

/// Packets moved each way in one step.
const PACKETS_PER_STEP: usize = 16;

/// How a frontend uses its rings.
#[derive(Clone, Copy, Debug)]
pub struct FrontendConfig {
    /// Of thousand packets so many leave with a blank checksum.
    pub blank_per_mille: u64,
    /// Takes blank checksums.
    pub takes_blank: bool,
    /// Joins TCP packets in a row up to so many bytes, to be segmented on the way; 0 for never.
    pub gso_bytes: usize,
    /// Takes packets that are to be segmented.
    pub takes_gso: bool,
    /// Wants an event channel for each ring, if it is offered.
    pub split_channels: bool,
    /// Most slots per packet; 1 without scatter-gather.
    pub most_slots: u64,
    /// Buffers it posts.
    pub buffers: usize,
    /// Where its ring indices begin.
    pub start: u32,
    /// Of thousand steps so many do not post buffers: a slow guest.
    pub lazy_per_mille: u64,
}

impl FrontendConfig {
    /// Checksums left blank, one slot per packet, a full ring of buffers: a driver that makes nothing difficult.
    pub const PLAIN: Self = Self {
        blank_per_mille: 1000,
        takes_blank: true,
        gso_bytes: 0,
        takes_gso: true,
        split_channels: true,
        most_slots: 1,
        buffers: 256,
        start: 0,
        lazy_per_mille: 0,
    };
}

/// What the kernel must have done before a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It said that it has closed: nothing is mapped any more.
    Unmapped,
    /// The directory went away: it cannot have known yet.
    Anything,
}

/// Connected rings.
#[derive(Debug)]
pub struct Nic {
    domain: DomainId,
    config: FrontendConfig,
    tx_ring: Buffer,
    rx_ring: Buffer,
    tx: Ring,
    rx: Ring,
    /// The ports for what it sends and for what it receives: one or two.
    ports: [u32; 2],
    /// Slots in use by id: their page, and the bytes it holds.
    sent: BTreeMap<u16, (Buffer, usize, usize)>,
    ids: Vec<u16>,
    pages: Vec<Buffer>,
    posted: BTreeMap<u16, Buffer>,
    spare: Vec<Buffer>,
    /// Extra-info slots without an answer.
    extras: usize,
    /// A frame of the host that did not go with the one before.
    next: Option<Vec<u8>>,
    /// How many batches of copies the kernel had run when it last answered, or when the first slot was sent.
    /// Nothing while the kernel has not connected.
    served_at: Option<u64>,
    assembling: Vec<u8>,
    first_flags: Option<u16>,
    segment_bytes: Option<u16>,
}

impl Nic {
    /// Makes rings and buffers and announces them in XenStore at `front`.
    pub fn connect(
        machine: &mut Machine,
        domain: DomainId,
        front: &str,
        config: FrontendConfig,
    ) -> Option<Self> {
        let tx_ring = Buffer::new(machine, domain, GrantUse::Write)?;
        let rx_ring = Buffer::new(machine, domain, GrantUse::Write)?;
        let tx_port = machine.channels.allocate(domain, KERNEL).ok()?;
        let back = machine.store.text(domain, &format!("{front}/backend"));
        let offered = machine.store.text(domain, &format!("{back}/feature-split-event-channels")) == "1";
        let split = config.split_channels && offered;
        let rx_port = if split { machine.channels.allocate(domain, KERNEL).ok()? } else { tx_port };
        let pages = (0..SIZE).map_while(|_| Buffer::new(machine, domain, GrantUse::Read)).collect();
        let spare =
            (0..config.buffers).map_while(|_| Buffer::new(machine, domain, GrantUse::Write)).collect();
        let mut nic = Self {
            domain,
            config,
            tx_ring,
            rx_ring,
            tx: Ring::create(&machine.memory, tx_ring.frame, 12, config.start),
            rx: Ring::create(&machine.memory, rx_ring.frame, 8, config.start),
            ports: [tx_port, rx_port],
            sent: BTreeMap::new(),
            ids: (0..256).rev().collect(),
            pages,
            posted: BTreeMap::new(),
            spare,
            extras: 0,
            next: None,
            served_at: None,
            assembling: Vec::new(),
            first_flags: None,
            segment_bytes: None,
        };
        nic.post(machine);
        nic.rx.publish(&machine.memory);
        let keys = [
            ("tx-ring-ref", tx_ring.reference),
            ("rx-ring-ref", rx_ring.reference),
            ("request-rx-copy", 1),
            ("feature-rx-notify", 1),
            ("feature-sg", 1),
            ("feature-gso-tcpv4", u32::from(config.takes_gso)),
            ("feature-no-csum-offload", u32::from(!config.takes_blank)),
        ];
        let channels: &[(&str, u32)] = if split {
            &[("event-channel-tx", tx_port), ("event-channel-rx", rx_port)]
        } else {
            &[("event-channel", tx_port)]
        };
        for (key, value) in keys.iter().chain(channels) {
            machine.store.put(domain, &format!("{front}/{key}"), value).ok()?;
        }
        Some(nic)
    }

    fn post(&mut self, machine: &Machine) {
        while self.rx.room() > 0 {
            let Some(buffer) = self.spare.pop() else { break };
            let id = (self.rx.produced & (SIZE - 1)) as u16;
            let mut entry = [0; 8];
            entry[..2].copy_from_slice(&id.to_le_bytes());
            entry[4..].copy_from_slice(&buffer.reference.to_le_bytes());
            self.posted.insert(id, buffer);
            self.rx.put(&machine.memory, &entry);
        }
    }

    /// Moves packets between rings and host; whether there is more to do.
    pub fn step(&mut self, machine: &mut Machine, host: &mut dyn Host) -> bool {
        for port in self.ports {
            machine.channels.take(self.domain, port);
        }
        if self.reap(machine) > 0 || self.sent.is_empty() {
            self.served_at = self.served_at.map(|_| machine.batches);
        }
        machine.fairness.wants(self.domain, self.served_at.is_some() && !self.sent.is_empty());
        let mut busy = self.receive(machine, host);
        if !machine.prng.chance(self.config.lazy_per_mille) {
            self.post(machine);
        }
        {
            let Machine { now, ledger, prng, .. } = machine;
            host.poll(*now, ledger, prng);
        }
        for _ in 0..PACKETS_PER_STEP {
            if self.ids.len() < 18 || self.tx.room() < 19 || self.pages.len() < 18 {
                break;
            }
            let Some(gso) = self.next_gso(machine, host) else { break };
            self.send(machine, gso);
            busy = true;
        }
        let told = [self.tx.publish(&machine.memory), self.rx.publish(&machine.memory)];
        for (port, told) in self.ports.into_iter().zip(told) {
            if told {
                machine.send_event(self.domain, port);
            }
        }
        let tx_more = self.tx.arm(machine, 1);
        let rx_more = self.rx.arm(machine, 1);
        busy || tx_more || rx_more
    }

    /// Takes the answers to what was sent.
    fn reap(&mut self, machine: &mut Machine) -> u32 {
        let answers = self.tx.waiting(machine);
        for _ in 0..answers {
            let entry = self.tx.take(&machine.memory);
            let id = frame::word(&[entry[1], entry[0]], 0);
            let status = frame::word(&[entry[3], entry[2]], 0) as i16;
            if status == NULL && self.extras > 0 {
                self.extras -= 1;
                continue;
            }
            match self.sent.remove(&id) {
                Some((buffer, offset, bytes)) => {
                    machine.memory.fill(buffer.frame, offset, bytes, mark(self.domain));
                    self.pages.push(buffer);
                    self.ids.push(id);
                }
                None => {
                    let domain = self.domain.0;
                    machine.violate("slot-answers", format!("domain {domain}: slot {id} is answered twice"));
                }
            }
            if ![0, -2].contains(&status) {
                let domain = self.domain.0;
                machine.violate("slot-status", format!("domain {domain}: slot {id} is refused: {status}"));
            }
            if entry[4..].iter().any(|&byte| byte != 0) {
                machine.violate("leak", "a transmit response is not zero where it is unused".into());
            }
        }
        answers
    }

    /// The host's next frame, with those behind it that go on where it ends.
    fn next_gso(&mut self, machine: &mut Machine, host: &mut dyn Host) -> Option<GsoFrame> {
        let mut transmit = |machine: &mut Machine| {
            let frame = host.transmit()?;
            machine.client_sends(self.domain, &frame);
            Some(frame)
        };
        let mut gso = GsoFrame::of(self.next.take().or_else(|| transmit(machine))?);
        let most = self.config.gso_bytes.min((self.config.most_slots as usize - 1) * PAGE_BYTES);
        while gso.frame.len() < most {
            self.next = transmit(machine);
            match &self.next {
                Some(next) if gso.join(next, most) => self.next = None,
                _ => break,
            }
        }
        Some(gso)
    }

    /// Puts a packet into slots, cut at random.
    fn send(&mut self, machine: &mut Machine, gso: GsoFrame) {
        machine.ledger.packets += 1;
        let GsoFrame { frame: mut packet, segment_bytes } = gso;
        let mut flags = 0;
        let wants_blank = segment_bytes.is_some() || machine.prng.chance(self.config.blank_per_mille);
        if wants_blank && frame::blank(&mut packet) {
            flags |= CSUM_BLANK | VALIDATED;
        }
        if segment_bytes.is_some() {
            flags |= EXTRA;
        }
        let ends = cuts(packet.len(), self.config.most_slots as usize, &mut machine.prng);
        let starts = core::iter::once(0).chain(ends.iter().copied());
        let last = ends.len().saturating_sub(1);
        for (index, (start, &end)) in starts.zip(&ends).enumerate() {
            let (Some(buffer), Some(id)) = (self.pages.pop(), self.ids.pop()) else { return };
            let bytes = end - start;
            let offset = machine.prng.below((PAGE_BYTES - bytes + 1) as u64) as usize;
            machine.memory.write(buffer.frame, offset, packet.get(start..end).unwrap_or_default());
            let size = if index == 0 { packet.len() } else { bytes };
            let own = if index == 0 { flags } else { 0 } | if index < last { MORE } else { 0 };
            let mut entry = buffer.reference.to_le_bytes().to_vec();
            for half in [offset as u16, own, id, size as u16] {
                entry.extend(half.to_le_bytes());
            }
            self.tx.put(&machine.memory, &entry);
            self.sent.insert(id, (buffer, offset, bytes));
            if let (0, Some(segment)) = (index, segment_bytes) {
                let [low, high] = segment.to_le_bytes();
                self.tx.put(&machine.memory, &[1, 0, low, high, 1, 0, 0, 0, 0, 0, 0, 0]);
                self.extras += 1;
            }
        }
        machine.capture(self.domain, &packet);
    }

    /// Takes what the kernel delivered.
    fn receive(&mut self, machine: &mut Machine, host: &mut dyn Host) -> bool {
        let until = self.rx.consumed.wrapping_add(self.rx.waiting(machine).min(PACKETS_PER_STEP as u32 * 4));
        let busy = until != self.rx.consumed;
        // An extra-info entry behind a packet's first slot is taken with it, be it beyond.
        while until.wrapping_sub(self.rx.consumed).wrapping_sub(1) < SIZE {
            let slot = (self.rx.consumed & (SIZE - 1)) as u16;
            let entry = self.rx.take(&machine.memory);
            let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            let (id, offset, flags, status) = (half(0), half(2), half(4), half(6) as i16);
            let domain = self.domain.0;
            let Some(buffer) = self.posted.remove(&id).filter(|_| id == slot) else {
                machine.violate("slot-answers", format!("domain {domain}: buffer {id} in slot {slot}"));
                continue;
            };
            let known = 7 | if self.config.takes_gso { EXTRA } else { 0 };
            if status < 0 || usize::from(offset) + status.max(0) as usize > PAGE_BYTES || flags & !known != 0
            {
                machine.violate(
                    "slot-status",
                    format!(
                        "domain {domain}: buffer {id} has status {status}, offset {offset}, flags {flags}"
                    ),
                );
            } else {
                let mut bytes = alloc::vec![0; status as usize];
                machine.memory.read(buffer.frame, offset.into(), &mut bytes);
                self.assembling.extend(bytes);
                self.first_flags.get_or_insert(flags);
            }
            machine.memory.fill(buffer.frame, 0, PAGE_BYTES, mark(self.domain));
            self.spare.push(buffer);
            if flags & EXTRA != 0 {
                self.receive_extra(machine);
            }
            if flags & RX_MORE == 0 {
                let packet = core::mem::take(&mut self.assembling);
                let flags = self.first_flags.take().unwrap_or(0);
                let gso = GsoFrame { frame: packet, segment_bytes: self.segment_bytes.take() };
                self.arrived(machine, gso, flags, host);
            }
        }
        busy
    }

    /// Takes the extra-info entry behind a packet's first slot, and the buffer that it took the place of.
    fn receive_extra(&mut self, machine: &mut Machine) {
        let domain = self.domain.0;
        if self.rx.waiting(machine) == 0 {
            return machine
                .violate("slot-answers", format!("domain {domain}: an extra-info slot is missing"));
        }
        let slot = (self.rx.consumed & (SIZE - 1)) as u16;
        let entry = self.rx.take(&machine.memory);
        match self.posted.remove(&slot) {
            Some(buffer) => self.spare.push(buffer),
            None => machine.violate("slot-answers", format!("domain {domain}: extra-info in slot {slot}")),
        }
        let size = u16::from_le_bytes([entry[2], entry[3]]);
        if entry[0] != 1 || entry[1] != 0 || entry[4] != 1 || size == 0 {
            machine.violate("slot-status", format!("domain {domain}: extra-info {entry:?}"));
        }
        self.segment_bytes = Some(size);
    }

    /// Checks a packet and gives it to the host.
    fn arrived(&mut self, machine: &mut Machine, mut gso: GsoFrame, flags: u16, host: &mut dyn Host) {
        let domain = self.domain;
        machine.ledger.packets += 1;
        machine.capture(self.domain, &gso.frame);
        if let Some(found) = frame::mark_in(&gso.frame, |byte| byte != mark(domain) && is_mark(byte)) {
            machine.violate("leak", format!("domain {} receives memory of others ({found:#x})", domain.0));
        }
        if flags & RX_BLANK != 0 {
            if !self.config.takes_blank || flags & RX_VALIDATED == 0 {
                machine
                    .violate("checksum", format!("domain {}: a blank checksum it does not take", domain.0));
            }
            if frame::complete(&mut gso.frame).is_none() && machine.ledger.uplink_is_honest {
                machine.violate("checksum", format!("domain {}: a blank checksum that is wrong", domain.0));
            }
        } else if gso.segment_bytes.is_some() {
            machine.violate("segments", format!("domain {}: segments without a blank checksum", domain.0));
        }
        let sums = frame::PlainPacket::of_frame(&gso.frame).is_none_or(|packet| packet.sums_are_right());
        if !sums && machine.ledger.uplink_is_honest {
            machine.violate("checksum", format!("domain {}: a packet with a wrong checksum", domain.0));
        }
        if !gso.is_sound() {
            machine.violate("segments", format!("domain {}: what cannot be segmented", domain.0));
        }
        for frame in gso.split() {
            machine.client_receives(domain, &frame);
            host.receive(frame);
        }
    }

    /// Whether the kernel has served others so long that it must have passed this client over.
    pub fn is_starved(&self, machine: &Machine) -> bool {
        // Whoever waits for a slow uplink is not passed over.
        let waits_since =
            self.served_at.filter(|_| !self.sent.is_empty() && !machine.ledger.uplink_is_narrow);
        waits_since.is_some_and(|since| machine.batches.saturating_sub(since) > MOST_BATCHES)
    }

    /// Tells it whether the kernel serves it.
    pub fn set_served(&mut self, served: bool, machine: &mut Machine) {
        if !served {
            machine.fairness.wants(self.domain, false);
        }
        self.served_at = if served { self.served_at.or(Some(machine.batches)) } else { None };
    }

    /// Slots that the kernel has not answered.
    pub fn unanswered(&self) -> usize {
        self.sent.len() + self.extras
    }

    /// Requests and buffers it waits for, seen from memory: what a sleeping kernel must not leave.
    pub fn check_idle(&self, machine: &mut Machine) {
        // The kernel may have let go of the rings, and xenstored not have said so yet.
        let connected = self.ports.iter().all(|&port| machine.channels.is_bound(self.domain, port));
        // Whoever waits for a link that is full is not forgotten.
        if !self.sent.is_empty() && connected && !machine.ledger.uplink_is_full {
            let (domain, count) = (self.domain.0, self.sent.len());
            machine.violate(
                "lost-wakeup",
                format!("the kernel sleeps and domain {domain} waits for the answer to {count} slots"),
            );
        }
    }

    /// Claims to have sent more than a ring holds.
    pub fn break_rings(&self, machine: &mut Machine) {
        let sent = machine.memory.word(self.tx_ring.frame, REQ_PROD);
        machine.memory.set_word(self.tx_ring.frame, REQ_PROD, sent.wrapping_add(SIZE + 1000));
        machine.send_event(self.domain, self.ports[0]);
    }

    /// Takes everything back after the kernel let go; what it still uses is lost to the domain.
    pub fn close(self, machine: &mut Machine, expected: Expected) {
        machine.fairness.wants(self.domain, false);
        for port in self.ports {
            machine.channels.close(self.domain, port);
        }
        let sent = self.sent.into_values().map(|(buffer, ..)| buffer);
        let buffers = self.pages.into_iter().chain(self.posted.into_values()).chain(self.spare).chain(sent);
        for buffer in buffers {
            buffer.free(machine, self.domain);
        }
        for ring in [self.tx_ring, self.rx_ring] {
            if !ring.free(machine, self.domain) && expected == Expected::Unmapped {
                let domain = self.domain.0;
                machine.violate("unmap", format!("domain {domain}: a ring is still mapped after the close"));
            }
        }
    }
}
