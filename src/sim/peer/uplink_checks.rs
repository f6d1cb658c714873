//! What must hold of a packet that the uplink's backend takes from the kernel.

use super::backend_config::BackendConfig;
use super::netif::{MOST_SLOTS, TX_BLANK};
use super::uplink_rings::SlotChain;
use crate::sim::cast::{NONSENSE_NETWORK, UPLINK};
use crate::sim::frame;
use crate::sim::frame::gso::GsoFrame;
use crate::sim::machine::Machine;
use crate::sim::oracle::marks::is_mark;
use alloc::format;
use alloc::vec::Vec;

/// Checks a packet, and gives it back with its checksum complete.
pub(super) fn check_packet(
    machine: &mut Machine,
    chain: &SlotChain,
    mut packet: Vec<u8>,
    config: &BackendConfig,
) -> GsoFrame {
    let slots = chain.slots.len();
    if slots > MOST_SLOTS {
        machine.violate("uplink-slots", format!("a packet of {slots} slots"));
    }
    machine.ledger.packets += 1;
    machine.capture(UPLINK, &packet);
    if frame::mark_in(&packet, is_mark).is_some() {
        machine.violate("leak", "the uplink receives memory that was not sent".into());
    }
    // What a hostile client sends there is forwarded as it came, checksum and all.
    let nonsense = packet.get(30..33) == Some(&NONSENSE_NETWORK[..]);
    let blank = chain.slots.first().is_some_and(|first| first.flags & TX_BLANK != 0);
    let completed = blank && frame::complete(&mut packet).is_some();
    if blank && (config.refuses_blank || !completed) && !nonsense {
        machine.violate("checksum", "the uplink receives a blank checksum it cannot complete".into());
    }
    // A long ping that somebody sent us with a wrong checksum is turned round as it came.
    let sums = frame::PlainPacket::of_frame(&packet)
        .is_none_or(|packet| packet.sums_are_right() || packet.is_long_echo_reply());
    if !sums && !nonsense && machine.ledger.uplink_is_honest {
        machine.violate("checksum", "the uplink receives a packet with a wrong checksum".into());
    }
    let segment_bytes = chain.segment_bytes;
    let gso = GsoFrame { frame: packet, segment_bytes };
    if !nonsense && (!gso.is_sound() || (segment_bytes.is_some() && !blank)) {
        machine.violate("segments", "the uplink receives what cannot be segmented".into());
    }
    gso
}
