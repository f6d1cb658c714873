//! A Linux-like backend for the uplink: its vif's life, its rings, and the network beyond.

use super::backend_attacks::attack;
use super::backend_config::BackendConfig;
use super::uplink_checks::check_packet;
use super::uplink_link::LinkDirection;
use super::uplink_rings::{ChainEnd, UplinkRings};
use crate::sim::cast::{KERNEL, UPLINK};
use crate::sim::frame::gso::GsoFrame;
use crate::sim::host::{Host, greedy};
use crate::sim::machine::Machine;
use crate::sim::machine::world::{NextRun, Peer};
use crate::sim::store::home;
use crate::xen::DomainId;
use crate::xen::page::PAGE_BYTES;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Slots of packets moved in one step.
const SLOTS_PER_STEP: u32 = 32;

/// The uplink's backend.
pub struct UplinkBackend {
    front: String,
    back: String,
    config: BackendConfig,
    network: Box<dyn Host>,
    rings: Option<UplinkRings>,
    own: u8,
    /// To the kernel, and to the network.
    inward: LinkDirection,
    outward: LinkDirection,
    /// Mappings of pages that it does not let go.
    kept_mappings: Vec<u32>,
    watching: bool,
    /// Changes of XenStore that it has seen.
    seen: u64,
}

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
            inward: LinkDirection::default(),
            outward: LinkDirection::default(),
            kept_mappings: Vec::new(),
            watching: false,
            seen: 0,
        }
    }

    fn set_state(&mut self, machine: &mut Machine, state: u8) {
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
            // The toolstack asked for the end just before. (Linux's netback begins or connects all the same and writes over that;
            // libxl waits in vain then, and whoever runs it asks again.)
            (0, _) | (2, "4") if machine.store.text(UPLINK, &node) == "5" => self.set_state(machine, 5),
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
            (2, "4") => match UplinkRings::connect(machine, &self.front, &self.config) {
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

    fn disconnect(&mut self, machine: &mut Machine) {
        if let Some(rings) = self.rings.take() {
            rings.close(machine);
        }
    }

    /// Takes what the kernel sends, as far as the link has room.
    fn take_packets(&mut self, machine: &mut Machine) -> bool {
        let Some(rings) = &mut self.rings else { return false };
        let limit = self.config.link;
        let mut waiting = rings.tx.waiting(machine);
        let mut left = SLOTS_PER_STEP;
        let busy = waiting > 0 && self.outward.full_until(limit, machine.now).is_none();
        while waiting > 0 && left > 0 && self.outward.full_until(limit, machine.now).is_none() {
            let chain = rings.take_chain(machine, &mut waiting, &self.config);
            left = left.saturating_sub(chain.slots.len() as u32);
            let packet = chain.read(machine);
            if chain.end == ChainEnd::Missing {
                if machine.ledger.uplink_is_honest {
                    machine.violate("uplink-slots", "a packet of the kernel has no last slot".into());
                }
                return true;
            }
            // While a connection ends, grants end under the backend's hands: it has read a part, or nothing. (At any
            // other time the slot that cannot be read was a violation.)
            if chain.slots.first().is_none_or(|first| first.bytes != packet.len()) {
                continue;
            }
            for frame in check_packet(machine, &chain, packet, &self.config).split() {
                machine.uplink_receives(&frame);
                if let Some(client) = greedy::sender(&frame) {
                    machine.fairness.sent(client, frame.len());
                }
                self.outward.send(&self.config, machine, frame);
            }
        }
        let unfair = machine.fairness.close_window(machine.now);
        if let Some(what) = unfair.filter(|_| limit.is_some() && machine.ledger.uplink_is_honest) {
            machine.violate("fairness", what);
        }
        rings.answer(machine);
        busy
    }

    /// Gives the kernel what has arrived for it.
    fn give_packets(&mut self, machine: &mut Machine) -> bool {
        let mut busy = false;
        let Some(rings) = &mut self.rings else {
            self.inward.clear();
            return false;
        };
        let largest = self.config.gso_bytes.min((self.config.slots() - 1) * PAGE_BYTES);
        while self.inward.arrived(machine.now).is_some() && rings.rx.waiting(machine) >= self.config.buffers()
        {
            let Some(frame) = self.inward.take_arrived(machine.now) else { break };
            let mut packet = GsoFrame::of(frame);
            machine.uplink_sends(&packet.frame);
            while let Some(next) = self.inward.arrived(machine.now)
                && packet.join(next, largest)
            {
                machine.uplink_sends(next);
                self.inward.take_arrived(machine.now);
            }
            rings.deliver(machine, packet, &self.config);
            busy = true;
        }
        busy
    }

    fn serve_network(&mut self, machine: &mut Machine) -> bool {
        let mut busy = false;
        while let Some(frame) = self.outward.take_arrived(machine.now) {
            self.network.receive(frame);
            busy = true;
        }
        let Machine { now, ledger, prng, .. } = machine;
        self.network.poll(*now, ledger, prng);
        while let Some(frame) = self.network.transmit() {
            let link = self.config.link;
            if link.is_none_or(|link| link.has_room(self.inward.free, machine.now)) {
                self.inward.send(&self.config, machine, frame);
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
            let (rings, kept) = (self.rings.as_mut(), &mut self.kept_mappings);
            if let Some(state) = attack(machine, rings, kept, self.own) {
                self.set_state(machine, state);
            }
        } else if machine.now >= self.config.attacks_until {
            for handle in self.kept_mappings.drain(..) {
                machine.unmap_grant(UPLINK, handle);
            }
        }
        let blocked = self.outward.full_until(self.config.link, machine.now);
        let blocked = blocked.filter(|_| self.rings.is_some());
        machine.ledger.uplink_is_full = blocked.is_some();
        if let Some(rings) = &mut self.rings {
            rings.publish(machine);
            busy |= (blocked.is_none() && rings.tx.arm(machine, 1)) || rings.owes_answers();
            if self.inward.arrived(machine.now).is_some() {
                busy |= rings.rx.arm(machine, self.config.buffers());
            }
        }
        if busy {
            return NextRun::Again;
        }
        let now = machine.now;
        // A frame that is due waits for buffers: their arrival wakes us.
        let network = self.network.deadline(now).map(|due| due.max(now + Duration::from_micros(50)));
        match [self.inward.next_arrival(now), self.outward.next_arrival(now), network, blocked]
            .into_iter()
            .flatten()
            .min()
        {
            Some(due) => NextRun::Until(due),
            None => NextRun::Asleep,
        }
    }

    fn check_idle(&self, machine: &mut Machine) {
        if !machine.ledger.uplink_is_honest {
            return;
        }
        if self.rings.as_ref().is_some_and(|rings| rings.tx.waiting(machine) == 0) {
            machine.check_small_packets();
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
