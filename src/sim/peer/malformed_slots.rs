//! Transmit slots of packets that no frontend makes: each shape that has broken a backend somewhere.

use crate::sim::prng::Prng;
use alloc::vec;
use alloc::vec::Vec;

const MORE: u16 = 4;
const EXTRA: u16 = 8;

/// A transmit slot (`struct netif_tx_request`).
fn slot(reference: u32, offset: u16, flags: u16, id: u16, size: u16) -> Vec<u8> {
    let mut entry = reference.to_le_bytes().to_vec();
    for half in [offset, flags, id, size] {
        entry.extend(half.to_le_bytes());
    }
    entry
}

/// An extra-info slot (`struct netif_extra_info`) of any type, with more to follow or not.
fn extra(more: u8, prng: &mut Prng) -> Vec<u8> {
    let mut entry = vec![prng.below(6) as u8, more];
    entry.extend(prng.bytes(10));
    entry
}

/// The slots of one packet that is wrong, all in the granted page `page`.
pub fn malformed_packet(page: u32, prng: &mut Prng) -> Vec<Vec<u8>> {
    let id = prng.bits() as u16;
    match prng.below(7) {
        // A first slot of one byte, or of none: its length is what the others leave of the total.
        0 => {
            let own = prng.below(2) as u16;
            vec![slot(page, 0, MORE, id, 60 + own), slot(page, 4096 - 60, 0, id, 60)]
        }
        // Pieces of no bytes, one of them at the end of the page.
        1 => vec![
            slot(page, 0, MORE, id, 60),
            slot(page, 4096, MORE, id, 0),
            slot(page, 0, MORE, id, 20),
            slot(page, 0, 0, id, 0),
        ],
        // More to come, without end; as many as Linux takes, refuses, and calls an attack.
        2 => {
            let count = *prng.pick(&[1u16, 2, 17, 18, 19, 20, 21, 60]);
            (0..count).map(|n| slot(page, 0, MORE, n, if n == 0 { 1514 } else { 20 })).collect()
        }
        // As many, with an end.
        3 => {
            let count = *prng.pick(&[17u16, 18, 19, 20, 21]);
            let flags = |n| if n + 1 < count { MORE } else { 0 };
            (0..count).map(|n| slot(page, 0, flags(n), n, if n == 0 { 1514 } else { 20 })).collect()
        }
        // Extra-info slots in a row, and perhaps no packet behind them.
        4 => {
            let count = *prng.pick(&[1, 2, 3, 5, 30]);
            let mut slots = vec![slot(page, 0, EXTRA | (prng.below(2) as u16 * MORE), id, 60)];
            slots.extend((0..count).map(|n| extra(u8::from(n + 1 < count || prng.chance(200)), prng)));
            slots
        }
        // Sizes that disagree: the pieces are more than the whole.
        5 => vec![slot(page, 0, MORE, id, 60), slot(page, 0, 0, id, *prng.pick(&[61, 4096, u16::MAX]))],
        // One byte beyond the page, at the first or the last piece.
        _ => {
            let (first, second) = *prng.pick(&[(4096 - 59, 0), (0, 4096 - 59), (u16::MAX, 0)]);
            vec![slot(page, first, MORE, id, 120), slot(page, second, 0, id, 60)]
        }
    }
}
