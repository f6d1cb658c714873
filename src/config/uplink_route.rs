//! Our address on the uplink and the way beyond it.

use crate::base::prefix::Ipv4Prefix;
use core::net::Ipv4Addr;

/// Our address on the uplink and the way beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkRoute {
    /// Our address, and the network that is reached directly.
    pub address: Ipv4Prefix,
    /// Who forwards to everybody else.
    pub gateway: Ipv4Addr,
}

impl UplinkRoute {
    /// Who is to be sent what goes to `destination`.
    pub fn next_hop(&self, destination: Ipv4Addr) -> Ipv4Addr {
        if self.address.contains(destination) { destination } else { self.gateway }
    }
}
