//! How the uplink's backend breaks the protocol when it is hostile.

use super::ring::RSP_PROD;
use super::uplink_rings::UplinkRings;
use crate::sim::cast::{KERNEL, UPLINK};
use crate::sim::machine::Machine;
use alloc::vec::Vec;

/// Breaks the protocol in one way or another; a state that the backend, which is in `own`, is to write.
pub(super) fn attack(
    machine: &mut Machine,
    rings: Option<&mut UplinkRings>,
    kept_mappings: &mut Vec<u32>,
    own: u8,
) -> Option<u8> {
    let Machine { prng, .. } = machine;
    let choice = prng.below(10);
    let scribble = prng.bits();
    let jump = *prng.pick(&[1u32, 2, 200, 257, 1 << 31, u32::MAX]);
    let (index, field) = (prng.below(256) as usize, prng.below(4) as usize);
    let Some(rings) = rings else { return (own == 6 && choice < 3).then_some(2) };
    let mut state = None;
    match choice {
        0 => {
            // An id that may not be outstanding, or one a second time.
            let mut entry = [0; 12];
            entry[..2].copy_from_slice(&(scribble as u16 % 300).to_le_bytes());
            rings.tx.put(&machine.memory, &entry);
        }
        1..=5 => {
            let value = [0x7fff, 0xffff, 4097, scribble as u16][index % 4];
            // One of the latest, which the kernel is about to read, or any.
            let latest = rings.rx.produced.wrapping_sub(index as u32 % 4 + 1) as usize % 256;
            let index = if scribble & 1 << 20 == 0 { index } else { latest };
            let place = 64 + index * 8 + field * 2;
            machine.memory.write(rings.rx.frame, place, &value.to_le_bytes());
        }
        6 => {
            let ring = if field < 2 { rings.tx.frame } else { rings.rx.frame };
            let value = machine.memory.word(ring, RSP_PROD).wrapping_add(jump);
            machine.memory.set_word(ring, RSP_PROD, value);
        }
        7 => state = Some((scribble % 9) as u8),
        _ => {
            // Holds on to a page that it was lent.
            if kept_mappings.len() < 40
                && let Ok((handle, _)) = machine.map_grant(UPLINK, KERNEL, 8 + scribble as u32 % 512)
            {
                kept_mappings.push(handle);
            }
        }
    }
    if index % 8 == 0 {
        for handle in kept_mappings.drain(..) {
            machine.unmap_grant(UPLINK, handle);
        }
    }
    state
}
