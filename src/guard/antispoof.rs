//! Antispoofing: what a client may call itself, from the addresses the toolstack gave it.

use crate::wire::ethernet::{Mac, NotAMac};
use arrayvec::ArrayVec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Most IPv4 addresses of one client that are honoured.
const MAX_ADDRESSES: usize = 4;

/// The addresses that belong to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    mac: Option<Mac>,
    addresses: ArrayVec<Ipv4Addr, MAX_ADDRESSES>,
}

/// Why a packet is not from whom it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoof {
    /// The Ethernet source is not the client's.
    Mac,
    /// The IPv4 source is not the client's.
    Address,
}

impl Identity {
    /// Reads the vif's `mac` and `ip` nodes. `ip` is a list separated by spaces; IPv6 addresses in it are
    /// passed over. What cannot be read gives the client no address: nothing it sends is accepted.
    pub fn parse(mac: &str, addresses: &str) -> Self {
        let mac: Result<Mac, NotAMac> = mac.parse();
        let words = addresses.split_ascii_whitespace();
        let known =
            words.clone().all(|word| word.parse::<Ipv4Addr>().is_ok() || word.parse::<Ipv6Addr>().is_ok());
        let addresses = words.filter_map(|word| word.parse().ok()).take(MAX_ADDRESSES);
        Self { mac: mac.ok(), addresses: addresses.filter(|_| known).collect() }
    }

    /// The address that traffic for the client is sent to: the first.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.addresses.first().copied()
    }

    /// The client's Ethernet address.
    pub fn mac(&self) -> Option<Mac> {
        self.mac
    }

    /// Whether a packet with these source addresses can be the client's.
    pub fn check(&self, mac: Mac, address: Ipv4Addr) -> Result<(), Spoof> {
        if self.mac != Some(mac) {
            Err(Spoof::Mac)
        } else if !self.addresses.contains(&address) {
            Err(Spoof::Address)
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mac, self.address()) {
            (Some(mac), Some(address)) => write!(f, "{address} at {mac}"),
            (_, None) => f.write_str(
                "without an IPv4 address it may use (the vif's ip=): everything it sends is dropped",
            ),
            (None, _) => f.write_str("without a readable mac: everything it sends is dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0, 0x16, 0x3e, 1, 2, 3]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 5);

    fn identity() -> Identity {
        Identity::parse("00:16:3e:01:02:03", "10.137.0.5 fd09:24ef:4179::a89:5")
    }

    #[test]
    fn own_addresses_pass_and_others_do_not() {
        assert_eq!(identity().check(MAC, ADDRESS), Ok(()));
        assert_eq!(identity().check(MAC, Ipv4Addr::new(10, 137, 0, 6)), Err(Spoof::Address));
        assert_eq!(identity().check(Mac([0; 6]), ADDRESS), Err(Spoof::Mac));
    }

    #[test]
    fn client_without_readable_addresses_has_none() {
        for (mac, addresses) in
            [("00:16:3e:01:02:03", ""), ("00:16:3e:01:02:03", "10.137.0.5 x"), ("x", "10.137.0.5")]
        {
            assert!(Identity::parse(mac, addresses).check(MAC, ADDRESS).is_err());
        }
    }
}
