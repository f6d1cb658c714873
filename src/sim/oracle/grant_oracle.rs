//! Oracles at the kernel's calls: what it grants, and when it may sleep.

use crate::kernel::egress::GATEWAY_MAC;
use crate::sim::frame;
use crate::sim::machine::Machine;
use crate::sim::machine::kernel_domain::POISON;
use crate::sim::run::UPLINK_MAC;
use crate::xen::grant::Access;
use crate::xen::host::HostFrame;
use crate::xen::page::PAGE_BYTES;
use alloc::format;
use core::ops::Range;

/// The first bytes of every client's Ethernet address, and of nobody else's.
pub const CLIENT_MAC: [u8; 4] = [0x00, 0x16, 0x3e, 0x5e];

/// The kernel has granted a page to the uplink, to show it the bytes `shown`.
pub fn check_grant(machine: &mut Machine, frame: HostFrame, access: Access, shown: Range<usize>) {
    let mut page = [0; PAGE_BYTES];
    machine.memory.read(frame, 0, &mut page);
    if let Some(at) = machine.secret_in(frame, shown.clone()) {
        machine.violate("leak", format!("a page is granted to the uplink with byte {at} not wiped"));
    }
    let sent = page.get(shown).unwrap_or_default();
    // A gateway that does not answer ARP is taken to have that address too: then the source is ours.
    let to_us = sent.get(..6) == Some(&GATEWAY_MAC.0[..]) && sent.get(6..12) != Some(&UPLINK_MAC[..]);
    let as_it_came = to_us || sent.get(6..10) == Some(&CLIENT_MAC[..]);
    if access == Access::ReadOnly && as_it_came {
        machine
            .violate("grant-before-verdict", "a client's frame is granted to the uplink as it came".into());
    }
    if access == Access::ReadOnly && frame::mark_in(sent, |mark| mark == POISON).is_some() {
        machine.violate("leak", "a page is granted to the uplink with old contents".into());
    }
}

/// The kernel has ended a grant.
pub fn check_end(machine: &mut Machine, reference: u32, _free: usize) {
    if machine.ledger.grants.remove(&reference).is_none() {
        machine.violate("grant-balance", format!("grant {reference} is ended that was not in force"));
    }
}

/// The kernel is about to sleep.
pub fn check_before_sleep(machine: &mut Machine) {
    for (oracle, what) in machine.ledger.take_complaints() {
        machine.violate(oracle, what);
    }
}
