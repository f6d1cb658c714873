//! Oracles at the kernel's calls: what it grants, and when it may sleep.

use super::domain::POISON;
use super::machine::Machine;
use super::net::frame;
use super::run::UPLINK_MAC;
use crate::exits::GATEWAY_MAC;
use crate::xen::grant::Access;
use crate::xen::page::PAGE_BYTES;
use alloc::format;

/// The first bytes of every client's Ethernet address, and of nobody else's.
pub const CLIENT_MAC: [u8; 4] = [0x00, 0x16, 0x3e, 0x5e];

/// The kernel is about to grant a page to the uplink.
pub fn check_grant(machine: &mut Machine, page: &[u8; PAGE_BYTES], access: Access) {
    match access {
        Access::ReadWrite => {
            if let Some(at) = page.iter().position(|&byte| byte != 0) {
                machine.violate("leak", format!("a buffer is granted with byte {at} not wiped"));
            }
        }
        Access::ReadOnly => {
            // A gateway that does not answer ARP is taken to have that address too: then the source is ours.
            let to_us = page[..6] == GATEWAY_MAC.0 && page[6..12] != UPLINK_MAC;
            if to_us || page[6..10] == CLIENT_MAC {
                machine.violate(
                    "grant-before-verdict",
                    "a client's frame is granted to the uplink as it came".into(),
                );
            }
            if frame::mark_in(page, |mark| mark == POISON).is_some() {
                machine.violate("leak", "a page is granted to the uplink with old contents".into());
            }
        }
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
