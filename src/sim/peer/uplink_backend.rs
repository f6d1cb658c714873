//! A Linux-like backend for the uplink: its vif's life, its rings, and the network beyond.

use crate::base::time::Moment;
use crate::sim::cast::{KERNEL, NONSENSE_NETWORK, UPLINK};
use crate::sim::frame;
use crate::sim::frame::gso::{GsoFrame, cuts};
use crate::sim::host::{Host, greedy};
use crate::sim::machine::Machine;
use crate::sim::machine::world::{NextRun, Peer};
use crate::sim::oracle::marks::is_mark;
use crate::sim::peer::backend_config::BackendConfig;
use crate::sim::peer::ring::Ring;
use crate::sim::peer::uplink_pages::{fill_buffer, read_slot};
use crate::sim::store::home;
use crate::xen::DomainId;
use crate::xen::page::PAGE_BYTES;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

const MORE: u16 = 4;
const EXTRA: u16 = 8;
const RX_VALIDATED: u16 = 1;
const RX_BLANK: u16 = 2;

/// Slots of packets moved in one step.
const SLOTS_PER_STEP: u32 = 32;

pub(in crate::sim) struct UplinkRings {
    pub(in crate::sim) tx: Ring,
    pub(in crate::sim) rx: Ring,
    handles: [u32; 2],
    /// The ports for what the kernel sends and for what it receives: one or two.
    ports: [u32; 2],
    /// Slots taken and not answered, in the order in which they will be; `None` is an extra-info slot.
    held: Vec<Option<u16>>,
}

/// The uplink's backend.
pub struct UplinkBackend {
    front: String,
    back: String,
    config: BackendConfig,
    network: Box<dyn Host>,
    pub(in crate::sim) rings: Option<UplinkRings>,
    pub(in crate::sim) own: u8,
    /// Frames on their way to the kernel and to the network.
    inward: VecDeque<(Moment, Vec<u8>)>,
    outward: VecDeque<(Moment, Vec<u8>)>,
    /// When a limited link is done with what it was given, in either direction.
    inward_free: Moment,
    outward_free: Moment,
    /// Mappings of pages that it does not let go.
    pub(in crate::sim) kept_mappings: Vec<u32>,
    watching: bool,
    /// Changes of XenStore that it has seen.
    seen: u64,
}

/// Frames on the way in either direction: more are lost. That is more than two floods
/// send at once, who are not to cost anybody else anything here.
const MOST_UNDERWAY: usize = 8192;

impl UplinkBackend {
    /// The backend of the kernel's device 0, with `network` behind it.
    pub fn new(config: BackendConfig, network: Box<dyn Host>) -> Self {
        Self {
            front: format!("{}/device/vif/0", home(KERNEL)),
            back: format!("{}/backend/vif/{}/0", home(UPLINK), KERNEL.0),
            config,
            network,
            rings: None,
            own: 0,
            inward: VecDeque::new(),
            outward: VecDeque::new(),
            inward_free: Moment::default(),
            outward_free: Moment::default(),
            kept_mappings: Vec::new(),
            watching: false,
            seen: 0,
        }
    }

    pub(in crate::sim) fn set_state(&mut self, machine: &mut Machine, state: u8) {
        self.own = state;
        machine.note(&[40, u64::from(state)], || format!("uplink backend is in state {state}"));
        if machine.store.exists(&format!("{}/state", self.back)) {
            let _ = machine.store.put(UPLINK, &format!("{}/state", self.back), state);
        }
    }

    /// Follows the frontend and the toolstack.
    fn look(&mut self, machine: &mut Machine) {
        let node = format!("{}/state", self.back);
        if !machine.store.exists(&node) {
            self.disconnect(machine);
            self.own = 0;
            return;
        }
        let front = machine.store.text(UPLINK, &format!("{}/state", self.front));
        match (self.own, front.as_str()) {
            (0, _) | (6, "1") => {
                let offers = [
                    ("feature-rx-copy", 1),
                    ("feature-sg", 1),
                    ("feature-no-csum-offload", u8::from(self.config.refuses_blank)),
                    ("feature-gso-tcpv4", u8::from(self.config.takes_gso)),
                    ("feature-split-event-channels", u8::from(self.config.split_channels)),
                ];
                for (key, value) in offers {
                    let _ = machine.store.put(UPLINK, &format!("{}/{key}", self.back), value);
                }
                self.set_state(machine, 2);
            }
            (2, "4") => match self.connect(machine) {
                Some(rings) => {
                    self.rings = Some(rings);
                    self.set_state(machine, 4);
                }
                None if self.config.attacks_per_mille > 0 => {}
                // Its directory was made anew before it looked: the kernel sees one that only begins, and lets go of
                // its rings. Linux's netback, too, finds nothing to map then, and closes.
                None if machine.store.text(UPLINK, &node) != "2" => self.set_state(machine, 5),
                None => machine.violate("uplink", "the kernel's rings cannot be taken up".into()),
            },
            (2 | 4, "5") => {
                self.disconnect(machine);
                self.set_state(machine, 5);
            }
            (2 | 4 | 5, "6" | "") => {
                self.disconnect(machine);
                self.set_state(machine, 6);
            }
            _ => {}
        }
    }

    fn connect(&mut self, machine: &mut Machine) -> Option<UplinkRings> {
        let number = |machine: &Machine, key: &str| -> Option<u32> {
            machine.store.text(UPLINK, &format!("{}/{key}", self.front)).parse().ok()
        };
        let tx = number(machine, "tx-ring-ref")?;
        let rx = number(machine, "rx-ring-ref")?;
        let remote = match (number(machine, "event-channel-tx"), number(machine, "event-channel-rx")) {
            (Some(tx), Some(rx)) if self.config.split_channels => vec![tx, rx],
            _ => vec![number(machine, "event-channel")?],
        };
        let mapped: Vec<_> =
            [tx, rx].into_iter().map_while(|grant| machine.map_grant(UPLINK, KERNEL, grant).ok()).collect();
        let ports: Vec<_> =
            remote.iter().map_while(|&port| machine.channels.bind(UPLINK, KERNEL, port).ok()).collect();
        if mapped.len() < 2 || ports.len() < remote.len() {
            let_go(machine, ports, mapped.into_iter().map(|(handle, _)| handle));
            return None;
        }
        let (tx_handle, tx_frame) = *mapped.first()?;
        let (rx_handle, rx_frame) = *mapped.last()?;
        Some(UplinkRings {
            tx: Ring::attach(&machine.memory, tx_frame, 12),
            rx: Ring::attach(&machine.memory, rx_frame, 8),
            handles: [tx_handle, rx_handle],
            ports: [*ports.first()?, *ports.last()?],
            held: Vec::new(),
        })
    }

    fn disconnect(&mut self, machine: &mut Machine) {
        if let Some(rings) = self.rings.take() {
            let_go(machine, rings.ports, rings.handles);
        }
    }

    /// Puts a frame on its way, unless it is lost.
    fn dispatch(
        queue: &mut VecDeque<(Moment, Vec<u8>)>,
        free: &mut Moment,
        config: &BackendConfig,
        m: &mut Machine,
        frame: Vec<u8>,
    ) {
        if queue.len() >= MOST_UNDERWAY || m.prng.chance(config.loss_per_mille) {
            return;
        }
        let latency = m.prng.between(config.latency.as_nanos() as u64 / 2, config.latency.as_nanos() as u64);
        let mut due = m.now + Duration::from_nanos(latency);
        if let Some(link) = config.link {
            *free = m.now.max(*free) + link.time_for(frame.len() as u64);
            due = *free + Duration::from_nanos(latency);
        }
        // A cable keeps the order.
        let due = queue.back().map_or(due, |(last, _)| due.max(*last));
        queue.push_back((due, frame));
    }

    /// Takes what the kernel sends.
    fn take_packets(&mut self, machine: &mut Machine) -> bool {
        let Some(rings) = &mut self.rings else { return false };
        let mut waiting = rings.tx.waiting(machine);
        let mut left = SLOTS_PER_STEP;
        let link = self.config.link;
        let is_full = |free: Moment, now: Moment| link.is_some_and(|link| link.takes_from(free) > now);
        let busy = waiting > 0 && !is_full(self.outward_free, machine.now);
        while waiting > 0 && left > 0 && !is_full(self.outward_free, machine.now) {
            let mut packet = Vec::new();
            let (mut total, mut rest) = (0, 0);
            let mut segment_bytes = None;
            let mut slots = 0;
            let mut flags;
            let mut first = None;
            loop {
                if waiting == 0 {
                    if machine.ledger.uplink_is_honest {
                        machine.violate("uplink-slots", "a packet of the kernel has no last slot".into());
                    }
                    return true;
                }
                waiting -= 1;
                left = left.saturating_sub(1);
                let entry = rings.tx.take(&machine.memory);
                let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
                let reference = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
                let (offset, id, size) = (usize::from(half(4)), half(8), usize::from(half(10)));
                flags = half(6);
                let honest = self.config.attacks_per_mille == 0;
                if honest && (rings.held.contains(&Some(id)) || id >= 256) {
                    machine.violate("uplink-slots", format!("slot id {id} is used twice"));
                }
                rings.held.push(Some(id));
                slots += 1;
                if flags & EXTRA != 0 && waiting > 0 {
                    waiting -= 1;
                    let extra = rings.tx.take(&machine.memory);
                    let size = u16::from_le_bytes([extra[2], extra[3]]);
                    if honest && (!self.config.takes_gso || extra[..2] != [1, 0] || extra[4] != 1) {
                        machine.violate("uplink-slots", format!("extra-info {extra:?}"));
                    }
                    segment_bytes = Some(size);
                    rings.held.push(None);
                }
                if first.is_none() {
                    first = Some((reference, offset, flags, packet.len()));
                    total = size;
                } else {
                    rest += size;
                    read_slot(machine, reference, offset, size, &mut packet);
                }
                if flags & MORE == 0 {
                    break;
                }
            }
            let Some((reference, offset, flags, _)) = first else { return true };
            let mut head = Vec::new();
            read_slot(machine, reference, offset, total.saturating_sub(rest), &mut head);
            head.extend(packet);
            let mut packet = head;
            // While a connection ends, grants end under the backend's hands: it has read a part, or nothing. (At any
            // other time the slot that cannot be read was a violation.)
            if packet.len() != total {
                continue;
            }
            if slots > 18 {
                machine.violate("uplink-slots", format!("a packet of {slots} slots"));
            }
            machine.ledger.packets += 1;
            machine.capture(UPLINK, &packet);
            if frame::mark_in(&packet, is_mark).is_some() {
                machine.violate("leak", "the uplink receives memory that was not sent".into());
            }
            let wild = packet.get(30..33) == Some(&NONSENSE_NETWORK[..]);
            let blank = flags & 1 != 0;
            let completed = blank && frame::complete(&mut packet).is_some();
            if blank && (self.config.refuses_blank || !completed) && !wild {
                machine.violate("checksum", "the uplink receives a blank checksum it cannot complete".into());
            }
            // A long ping that somebody sent us with a wrong checksum is turned round as it came.
            let sums = frame::PlainPacket::of_frame(&packet)
                .is_none_or(|packet| packet.sums_are_right() || packet.is_long_echo_reply());
            if !sums && !wild && machine.ledger.uplink_is_honest {
                machine.violate("checksum", "the uplink receives a packet with a wrong checksum".into());
            }
            let gso = GsoFrame { frame: packet, segment_bytes };
            if !wild && (!gso.is_sound() || (segment_bytes.is_some() && !blank)) {
                machine.violate("segments", "the uplink receives what cannot be segmented".into());
            }
            for frame in gso.split() {
                machine.uplink_receives(&frame);
                if let Some(client) = greedy::sender(&frame) {
                    machine.fairness.sent(client, frame.len());
                }
                Self::dispatch(&mut self.outward, &mut self.outward_free, &self.config, machine, frame);
            }
        }
        let unfair = machine.fairness.close_window(machine.now);
        if let Some(what) = unfair.filter(|_| link.is_some() && machine.ledger.uplink_is_honest) {
            machine.violate("fairness", what);
        }
        // Answers come when they come, in any order.
        let Some(rings) = &mut self.rings else { return busy };
        let keep = machine.prng.below(rings.held.len() as u64 / 4 + 1) as usize;
        while rings.held.len() > keep {
            let index = machine.prng.below(rings.held.len() as u64) as usize;
            let id = rings.held.swap_remove(index);
            let mut entry = [0; 12];
            match id {
                Some(id) => entry[..2].copy_from_slice(&id.to_le_bytes()),
                // As Linux: the status alone; the rest is what was there.
                None => entry = [0xff, 0xff, 1, 0, 9, 9, 9, 9, 9, 9, 9, 9],
            }
            rings.tx.put(&machine.memory, &entry);
        }
        busy
    }

    /// Gives the kernel what has arrived for it.
    fn give_packets(&mut self, machine: &mut Machine) -> bool {
        let mut busy = false;
        while let Some((due, packet)) = self.inward.front_mut() {
            let Some(rings) = &mut self.rings else {
                self.inward.clear();
                return false;
            };
            let most = self.config.slots();
            if *due > machine.now || rings.rx.waiting(machine) < self.config.buffers() {
                break;
            }
            let mut gso = GsoFrame::of(core::mem::take(packet));
            machine.uplink_sends(&gso.frame);
            self.inward.pop_front();
            let largest = self.config.gso_bytes.min((most - 1) * PAGE_BYTES);
            while let Some((due, next)) = self.inward.front()
                && *due <= machine.now
                && gso.join(next, largest)
            {
                machine.uplink_sends(next);
                self.inward.pop_front();
            }
            let GsoFrame { frame: mut packet, segment_bytes } = gso;
            busy = true;
            machine.capture(UPLINK, &packet);
            machine.ledger.packets += 1;
            let mut flags = 0;
            let wants_blank = segment_bytes.is_some() || machine.prng.chance(self.config.blank_per_mille);
            if wants_blank && frame::blank(&mut packet) {
                flags = RX_BLANK | RX_VALIDATED;
            }
            if segment_bytes.is_some() {
                flags |= EXTRA;
            }
            let ends = cuts(packet.len(), most, &mut machine.prng);
            let starts = core::iter::once(0).chain(ends.iter().copied());
            for (index, (start, &end)) in starts.zip(&ends).enumerate() {
                let bytes = packet.get(start..end).unwrap_or_default();
                let entry = rings.rx.take(&machine.memory);
                let reference = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
                let offset = machine.prng.below((PAGE_BYTES - bytes.len() + 1) as u64) as usize;
                fill_buffer(machine, reference, offset, bytes);
                let own = if index == 0 { flags } else { 0 } | if index + 1 < ends.len() { MORE } else { 0 };
                let mut answer = entry[..2].to_vec();
                for half in [offset as u16, own, bytes.len() as u16] {
                    answer.extend(half.to_le_bytes());
                }
                rings.rx.put(&machine.memory, &answer);
                if let (0, Some(segment)) = (index, segment_bytes) {
                    let [low, high] = segment.to_le_bytes();
                    rings.rx.take(&machine.memory);
                    rings.rx.put(&machine.memory, &[1, 0, low, high, 1, 0, 0, 0]);
                }
            }
        }
        busy
    }

    fn serve_network(&mut self, machine: &mut Machine) -> bool {
        let mut busy = false;
        while self.outward.front().is_some_and(|(due, _)| *due <= machine.now) {
            if let Some((_, frame)) = self.outward.pop_front() {
                self.network.receive(frame);
                busy = true;
            }
        }
        let Machine { now, ledger, prng, .. } = machine;
        self.network.poll(*now, ledger, prng);
        while let Some(frame) = self.network.transmit() {
            let link = self.config.link;
            if link.is_none_or(|link| link.has_room(self.inward_free, machine.now)) {
                Self::dispatch(&mut self.inward, &mut self.inward_free, &self.config, machine, frame);
            }
            busy = true;
        }
        busy
    }
}

impl Peer for UplinkBackend {
    fn domain(&self) -> DomainId {
        UPLINK
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        if !self.watching {
            self.watching = true;
            machine.store.wake_for(UPLINK, &self.front);
            machine.store.wake_for(UPLINK, &self.back);
        }
        let before = self.own;
        if self.seen != machine.store.changes {
            self.seen = machine.store.changes;
            self.look(machine);
        }
        let mut busy = before != self.own;
        if let Some(rings) = &self.rings {
            for port in rings.ports {
                machine.channels.take(UPLINK, port);
            }
        }
        if !machine.prng.chance(self.config.lazy_per_mille) {
            busy |= self.take_packets(machine);
            busy |= self.give_packets(machine);
            busy |= self.serve_network(machine);
        }
        if machine.prng.chance(self.config.attacks_per_mille) && machine.now < self.config.attacks_until {
            self.attack(machine);
        } else if machine.now >= self.config.attacks_until {
            for handle in self.kept_mappings.drain(..) {
                machine.unmap_grant(UPLINK, handle);
            }
        }
        let blocked = self.config.link.map(|link| link.takes_from(self.outward_free));
        let blocked = blocked.filter(|until| *until > machine.now && self.rings.is_some());
        machine.ledger.uplink_is_full = blocked.is_some();
        if let Some(rings) = &mut self.rings {
            let told = [rings.tx.publish(&machine.memory), rings.rx.publish(&machine.memory)];
            for (port, told) in rings.ports.into_iter().zip(told) {
                if told {
                    machine.send_event(UPLINK, port);
                }
            }
            busy |= (blocked.is_none() && rings.tx.arm(machine, 1)) || !rings.held.is_empty();
            if self.inward.front().is_some_and(|(due, _)| *due <= machine.now) {
                busy |= rings.rx.arm(machine, self.config.buffers());
            }
        }
        if busy {
            return NextRun::Again;
        }
        let now = machine.now;
        // A frame that is due waits for buffers: their arrival wakes us.
        let due =
            |queue: &VecDeque<(Moment, Vec<u8>)>| queue.front().map(|(due, _)| *due).filter(|due| *due > now);
        let network = self.network.deadline(now).map(|due| due.max(now + Duration::from_micros(50)));
        match [due(&self.inward), due(&self.outward), network, blocked].into_iter().flatten().min() {
            Some(due) => NextRun::Until(due),
            None => NextRun::Asleep,
        }
    }

    fn check_idle(&self, machine: &mut Machine) {
        if !machine.ledger.uplink_is_honest {
            return;
        }
        if self.rings.as_ref().is_none_or(|rings| rings.rx.untaken(&machine.memory) == 0) {
            return;
        }
        let front = machine.store.text(UPLINK, &format!("{}/state", self.front));
        let Some(rings) = self.rings.as_ref().filter(|_| self.own == 4 && front == "4") else { return };
        let untaken = rings.rx.untaken(&machine.memory);
        // The kernel may have let go of the rings, and xenstored not have said so yet.
        let connected = rings.ports.iter().all(|&port| machine.channels.is_bound(UPLINK, port));
        if untaken > 0 && connected {
            machine.violate("lost-wakeup", format!("the kernel sleeps before {untaken} received slots"));
        }
    }
}

/// Closes the event channels and ends the mappings.
fn let_go(
    machine: &mut Machine,
    ports: impl IntoIterator<Item = u32>,
    handles: impl IntoIterator<Item = u32>,
) {
    for port in ports {
        machine.channels.close(UPLINK, port);
    }
    for handle in handles {
        machine.unmap_grant(UPLINK, handle);
    }
}
