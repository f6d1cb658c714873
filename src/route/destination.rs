//! Addresses that nobody may send to or from (RFC 1812 section 5.3.7).

use core::net::Ipv4Addr;

/// What kind of address a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any one host.
    Host,
    /// Many: multicast, limited broadcast, or broadcast on the uplink's own network.
    Many,
    /// Nobody that could be forwarded to: this network, loopback, reserved.
    Martian,
}

/// The network on the uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// An address in it.
    pub address: Ipv4Addr,
    /// Leading bits that all its addresses share; 32 when the network is not known.
    pub prefix_bits: u8,
}

impl Network {
    /// What kind of address `destination` is.
    pub const fn reach(&self, destination: Ipv4Addr) -> Reach {
        let first = destination.octets()[0];
        if destination.is_multicast() || destination.is_broadcast() || self.is_directed_broadcast(destination)
        {
            Reach::Many
        } else if first == 0 || first == 127 || first >= 240 {
            Reach::Martian
        } else {
            Reach::Host
        }
    }

    /// Whether all host bits are ones, or all zeros (the old broadcast address, RFC 1812 section 5.3.5.3), in
    /// a network that has more than two addresses.
    const fn is_directed_broadcast(&self, destination: Ipv4Addr) -> bool {
        let prefix_bits = if self.prefix_bits > 32 { 32 } else { self.prefix_bits };
        if prefix_bits > 30 || prefix_bits == 0 {
            return false;
        }
        let hosts = u32::MAX >> prefix_bits;
        let (own, other) = (self.address.to_bits(), destination.to_bits());
        own & !hosts == other & !hosts && (other & hosts == hosts || other & hosts == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn martians_and_broadcasts_are_told_from_hosts() {
        let network = Network { address: Ipv4Addr::new(192, 168, 7, 9), prefix_bits: 24 };
        let reach = |a, b, c, d| network.reach(Ipv4Addr::new(a, b, c, d));
        for (first, expected) in
            [(0, Reach::Martian), (127, Reach::Martian), (240, Reach::Martian), (10, Reach::Host)]
        {
            assert_eq!(reach(first, 1, 2, 3), expected);
        }
        assert_eq!(reach(224, 0, 0, 251), Reach::Many);
        assert_eq!(reach(255, 255, 255, 255), Reach::Many);
        assert_eq!(reach(192, 168, 7, 255), Reach::Many);
        assert_eq!(reach(192, 168, 7, 0), Reach::Many);
        assert_eq!(reach(192, 168, 6, 255), Reach::Host);
        assert_eq!(reach(192, 168, 7, 1), Reach::Host);
    }

    #[test]
    fn a_network_of_unknown_or_minimal_size_has_no_broadcast() {
        for prefix_bits in [0, 31, 32, 200] {
            let network = Network { address: Ipv4Addr::new(10, 0, 0, 2), prefix_bits };
            assert_eq!(network.reach(Ipv4Addr::new(10, 0, 0, 3)), Reach::Host);
        }
    }
}
