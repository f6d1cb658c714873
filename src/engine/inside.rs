//! Addresses that belong to clients, whether they are connected or not: they are nobody's on the uplink.
//!
//! Without them a packet to a client that is switched off would leave by the uplink, and whoever is there could pose as
//! that client. Qubes OS says them in the key `/connected-ips` of QubesDB.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The most that are kept: as many as there are clients.
pub const MAX_INSIDE_ADDRESSES: usize = 256;

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InsideAddresses(Box<[Ipv4Addr]>);

impl InsideAddresses {
    /// The first [`MAX_INSIDE_ADDRESSES`] of them.
    pub fn new(addresses: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        let mut all = Vec::new();
        for address in addresses {
            match all.binary_search(&address) {
                Err(at) if all.len() < MAX_INSIDE_ADDRESSES => all.insert(at, address),
                _ => {}
            }
        }
        Self(all.into())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.0.iter().copied()
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.0.binary_search(&address).is_ok()
    }
}
