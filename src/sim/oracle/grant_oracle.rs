//! What is wrong with a page that the kernel grants to the uplink.

use crate::kernel::egress::GATEWAY_MAC;
use crate::sim::cast::{CLIENT_MAC, UPLINK_MAC};
use crate::sim::frame;
use crate::sim::oracle::exposure::Exposure;
use crate::sim::oracle::marks::POISON;
use crate::xen::grant::Access;
use crate::xen::host::{HostFrame, HostMemory};
use crate::xen::page::PAGE_BYTES;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// Objections to a grant that is to show the uplink the bytes `shown`, each with the oracle that it is of.
pub fn objections(
    memory: &HostMemory,
    exposure: &Exposure,
    frame: HostFrame,
    access: Access,
    shown: Range<usize>,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut page = [0; PAGE_BYTES];
    memory.read(frame, 0, &mut page);
    if let Some(at) = exposure.secret_in(memory, frame, shown.clone()) {
        found.push(("leak", format!("a page is granted to the uplink with byte {at} not wiped")));
    }
    let sent = page.get(shown).unwrap_or_default();
    // A gateway that does not answer ARP is taken to have that address too: then the source is ours.
    let to_us = sent.get(..6) == Some(&GATEWAY_MAC.0[..]) && sent.get(6..12) != Some(&UPLINK_MAC[..]);
    let as_it_came = to_us || sent.get(6..10) == Some(&CLIENT_MAC[..]);
    if access == Access::ReadOnly && as_it_came {
        let what = "a client's frame is granted to the uplink as it came";
        found.push(("grant-before-verdict", what.into()));
    }
    if access == Access::ReadOnly && frame::mark_in(sent, |mark| mark == POISON).is_some() {
        found.push(("leak", "a page is granted to the uplink with old contents".into()));
    }
    found
}
