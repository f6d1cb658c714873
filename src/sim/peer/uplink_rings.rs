//! The connected rings of the uplink's backend: slots of the kernel taken and answered, packets put into its buffers.

use super::netif::{
    EXTRA, MORE, RX_BLANK, RX_BYTES, RX_VALIDATED, RawTxRequest, TX_BYTES, gso_extra, is_gso_extra,
    read_rx_request, rx_response, segment_bytes_of, tx_response,
};
use super::ring::Ring;
use super::uplink_pages::{fill_buffer, read_slot};
use crate::sim::cast::{KERNEL, UPLINK};
use crate::sim::frame;
use crate::sim::frame::gso::{GsoFrame, cuts};
use crate::sim::machine::Machine;
use crate::sim::peer::backend_config::BackendConfig;
use crate::xen::page::PAGE_BYTES;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

pub(super) struct UplinkRings {
    pub(super) tx: Ring,
    pub(super) rx: Ring,
    handles: [u32; 2],
    /// The ports for what the kernel sends and for what it receives: one or two.
    pub(super) ports: [u32; 2],
    /// Slots taken and not answered, in the order in which they will be; `None` is an extra-info slot.
    held: Vec<Option<u16>>,
}

/// The slots of one packet of the kernel.
pub(super) struct SlotChain {
    pub(super) slots: Vec<RawTxRequest>,
    pub(super) segment_bytes: Option<u16>,
    pub(super) end: ChainEnd,
}

/// How a chain of slots ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainEnd {
    /// With a slot that says so.
    Last,
    /// More was to come, and does not.
    Missing,
}

impl UplinkRings {
    /// Takes up the rings that the kernel announces at `front`.
    pub(super) fn connect(machine: &mut Machine, front: &str, config: &BackendConfig) -> Option<Self> {
        let number = |machine: &Machine, key: &str| -> Option<u32> {
            machine.store.text(UPLINK, &format!("{}/{key}", front)).parse().ok()
        };
        let tx = number(machine, "tx-ring-ref")?;
        let rx = number(machine, "rx-ring-ref")?;
        let remote = match (number(machine, "event-channel-tx"), number(machine, "event-channel-rx")) {
            (Some(tx), Some(rx)) if config.split_channels => vec![tx, rx],
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
        Some(Self {
            tx: Ring::attach(&machine.memory, tx_frame, TX_BYTES),
            rx: Ring::attach(&machine.memory, rx_frame, RX_BYTES),
            handles: [tx_handle, rx_handle],
            ports: [*ports.first()?, *ports.last()?],
            held: Vec::new(),
        })
    }

    /// Closes the event channels and ends the mappings.
    pub(super) fn close(self, machine: &mut Machine) {
        let_go(machine, self.ports, self.handles);
    }

    /// Takes the slots of one packet, of `waiting` entries that are in the ring.
    pub(super) fn take_chain(
        &mut self,
        machine: &mut Machine,
        waiting: &mut u32,
        config: &BackendConfig,
    ) -> SlotChain {
        let honest = config.attacks_per_mille == 0;
        let mut chain = SlotChain { slots: Vec::new(), segment_bytes: None, end: ChainEnd::Missing };
        while *waiting > 0 && chain.end == ChainEnd::Missing {
            *waiting -= 1;
            let slot = RawTxRequest::read(&self.tx.take(&machine.memory));
            if honest && (self.held.contains(&Some(slot.id)) || slot.id >= 256) {
                machine.violate("uplink-slots", format!("slot id {} is used twice", slot.id));
            }
            self.held.push(Some(slot.id));
            if slot.flags & EXTRA != 0 && *waiting > 0 {
                *waiting -= 1;
                let extra = self.tx.take(&machine.memory);
                if honest && !(config.takes_gso && is_gso_extra(&extra)) {
                    machine.violate("uplink-slots", format!("extra-info {extra:?}"));
                }
                chain.segment_bytes = Some(segment_bytes_of(&extra));
                self.held.push(None);
            }
            chain.slots.push(slot);
            if slot.flags & MORE == 0 {
                chain.end = ChainEnd::Last;
            }
        }
        chain
    }

    /// Whether slots wait for their answers.
    pub(super) fn owes_answers(&self) -> bool {
        !self.held.is_empty()
    }

    /// Answers some slots: answers come when they come, in any order.
    pub(super) fn answer(&mut self, machine: &mut Machine) {
        let keep = machine.prng.below(self.held.len() as u64 / 4 + 1) as usize;
        while self.held.len() > keep {
            let index = machine.prng.below(self.held.len() as u64) as usize;
            let id = self.held.swap_remove(index);
            self.tx.put(&machine.memory, &tx_response(id));
        }
    }

    /// Puts a packet into buffers of the kernel, cut at random.
    pub(super) fn deliver(&mut self, machine: &mut Machine, packet: GsoFrame, config: &BackendConfig) {
        let GsoFrame { frame: mut packet, segment_bytes } = packet;
        machine.capture(UPLINK, &packet);
        machine.ledger.packets += 1;
        let mut first_flags = 0;
        let wants_blank = segment_bytes.is_some() || machine.prng.chance(config.blank_per_mille);
        if wants_blank && frame::blank(&mut packet) {
            first_flags = RX_BLANK | RX_VALIDATED;
        }
        if segment_bytes.is_some() {
            first_flags |= EXTRA;
        }
        let ends = cuts(packet.len(), config.slots(), &mut machine.prng);
        let starts = core::iter::once(0).chain(ends.iter().copied());
        for (index, (start, &end)) in starts.zip(&ends).enumerate() {
            let bytes = packet.get(start..end).unwrap_or_default();
            let (id, reference) = read_rx_request(&self.rx.take(&machine.memory));
            let offset = machine.prng.below((PAGE_BYTES - bytes.len() + 1) as u64) as usize;
            fill_buffer(machine, reference, offset, bytes);
            let more = if index + 1 < ends.len() { MORE } else { 0 };
            let flags = if index == 0 { first_flags } else { 0 } | more;
            self.rx.put(&machine.memory, &rx_response(id, offset, flags, bytes.len()));
            if let (0, Some(segment)) = (index, segment_bytes) {
                self.rx.take(&machine.memory);
                self.rx.put(&machine.memory, &gso_extra(segment));
            }
        }
    }

    /// Publishes both rings, and tells the kernel where it asked for that.
    pub(super) fn publish(&mut self, machine: &mut Machine) {
        let told = [self.tx.publish(&machine.memory), self.rx.publish(&machine.memory)];
        for (port, told) in self.ports.into_iter().zip(told) {
            if told {
                machine.send_event(UPLINK, port);
            }
        }
    }
}

impl SlotChain {
    /// Reads the packet, which is shorter than its first slot says when grants ended meanwhile.
    pub(super) fn read(&self, machine: &mut Machine) -> Vec<u8> {
        let Some((first, others)) = self.slots.split_first() else { return Vec::new() };
        let mut rest = Vec::new();
        for slot in others {
            read_slot(machine, slot.reference, slot.offset, slot.bytes, &mut rest);
        }
        if self.end == ChainEnd::Missing {
            return rest;
        }
        let bytes_of_others: usize = others.iter().map(|slot| slot.bytes).sum();
        let mut packet = Vec::new();
        read_slot(
            machine,
            first.reference,
            first.offset,
            first.bytes.saturating_sub(bytes_of_others),
            &mut packet,
        );
        packet.extend(rest);
        packet
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
