//! Our address on the uplink and the way beyond it.

use crate::base::prefix::Ipv4Prefix;
use crate::config::host_address::{AddressRole, RefusedAddress, check_gateway, check_ours};
use core::net::Ipv4Addr;

/// Our address on the uplink and the way beyond, which can be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkRoute {
    address: Ipv4Prefix,
    gateway: Ipv4Addr,
}

impl UplinkRoute {
    /// The route of who has this `address` and `gateway`.
    ///
    /// # Errors
    /// Which of them cannot be, and why.
    pub fn new(address: Ipv4Prefix, gateway: Ipv4Addr) -> Result<Self, RefusedAddress> {
        let refused = |role, address| move |why| RefusedAddress { role, address, why };
        check_ours(address).map_err(refused(AddressRole::Uplink, address.address()))?;
        check_gateway(address, gateway).map_err(refused(AddressRole::Gateway, gateway))?;
        Ok(Self { address, gateway })
    }

    /// Our address, and the network that is reached directly.
    pub const fn address(&self) -> Ipv4Prefix {
        self.address
    }

    /// Who forwards to everybody else.
    pub const fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Who is to be sent what goes to `destination`.
    pub fn next_hop(&self, destination: Ipv4Addr) -> Ipv4Addr {
        if self.address.contains(destination) { destination } else { self.gateway }
    }
}
