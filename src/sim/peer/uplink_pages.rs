//! The kernel's pages as the uplink's backend sees them: read, and checked whole.

use crate::sim::cast::{KERNEL, UPLINK};
use crate::sim::machine::Machine;
use crate::sim::machine::grants::GrantUse;
use crate::sim::store::home;
use crate::xen::page::PAGE_BYTES;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// Whether neither side is closing: the kernel may end its grants as soon as one does.
pub(in crate::sim) fn is_steady(machine: &Machine) -> bool {
    if !machine.ledger.uplink_is_honest {
        return false;
    }
    let back = machine.store.text(UPLINK, &format!("{}/backend/vif/{}/0/state", home(UPLINK), KERNEL.0));
    let front = machine.store.text(UPLINK, &format!("{}/device/vif/0/state", home(KERNEL)));
    back == "4" && front == "4"
}

/// Reads one slot's bytes, and checks that the page holds nothing else.
pub(in crate::sim) fn read_slot(
    machine: &mut Machine,
    reference: u32,
    offset: usize,
    bytes: usize,
    into: &mut Vec<u8>,
) {
    if offset + bytes > PAGE_BYTES {
        if !machine.ledger.uplink_is_honest {
            return;
        }
        return machine.violate("uplink-slots", format!("a slot of {bytes} bytes at {offset}"));
    }
    let mut data = vec![0; bytes];
    if let Err(status) = machine.peer_read(UPLINK, KERNEL, reference, offset, &mut data) {
        if !is_steady(machine) {
            return;
        }
        return machine.violate("uplink-slots", format!("grant {reference} cannot be read: {status}"));
    }
    // A hostile one that puts an answer over a slot of the kernel finds a grant of its own choice there: a ring or a
    // buffer, which it may write, is no packet's page.
    let chosen = !machine.ledger.uplink_is_honest
        && machine.grant_page(UPLINK, KERNEL, reference, GrantUse::Write).is_ok();
    if !chosen && machine.secret_behind(reference, offset..offset + bytes).is_some() {
        machine.violate("leak", format!("the page of grant {reference} shows more than was sent"));
    }
    machine.uplink_took(reference, offset..offset + bytes);
    into.extend(data);
}

/// Writes into a buffer that the kernel posted, which must hold nothing new.
pub(in crate::sim) fn fill_buffer(machine: &mut Machine, reference: u32, offset: usize, bytes: &[u8]) {
    if machine.secret_behind(reference, 0..0).is_some() {
        machine.violate("leak", format!("the buffer of grant {reference} is not wiped"));
    }
    match machine.peer_write(UPLINK, KERNEL, reference, offset, bytes) {
        // A buffer may be posted again as it is, and one that stays with rings that the kernel has given up writes into buffers
        // of the next ones: it finds there what it wrote itself.
        Ok(frame) => machine.saw(frame),
        Err(status) if is_steady(machine) => {
            machine.violate("uplink-slots", format!("buffer {reference} cannot be written: {status}"));
        }
        Err(_) => {}
    }
}
