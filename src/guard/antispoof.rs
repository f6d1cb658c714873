//! Antispoofing: what a client may call itself, from the addresses the toolstack gave it.

use crate::base::text::Excerpt;
use crate::wire::ethernet::{Mac, NotAMac};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most things in one `ip` node that are told of.
const MAX_OMISSIONS: usize = 4;

/// The Ethernet and IPv4 address that belong to a client: one of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    mac: Option<Mac>,
    address: Option<Ipv4Addr>,
    /// What of the `ip` node is not done.
    not_done: Vec<Omission>,
}

/// Something in the `ip` node that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Omission {
    NoAddress(Excerpt),
    Ipv6(Ipv6Addr),
    Second(Ipv4Addr),
}

impl Identity {
    /// Reads the vif's `mac` and `ip` nodes. `ip` is a list separated by spaces, of which the first IPv4 address is
    /// used: rules, flows and shares are per client and so per address. IPv6 addresses are passed over. What cannot be
    /// read gives the client no address: nothing it sends is accepted.
    pub fn parse(mac: &str, addresses: &str) -> Self {
        let mac: Result<Mac, NotAMac> = mac.parse();
        let (mut address, mut not_done) = (None, Vec::new());
        for word in addresses.split_ascii_whitespace() {
            match word.parse() {
                Ok(IpAddr::V4(first)) if address.is_none() => address = Some(first),
                Ok(IpAddr::V4(second)) => not_done.push(Omission::Second(second)),
                Ok(IpAddr::V6(ignored)) => not_done.push(Omission::Ipv6(ignored)),
                Err(_) => {
                    not_done = [Omission::NoAddress(Excerpt::of(word))].into();
                    address = None;
                    break;
                }
            }
        }
        not_done.truncate(MAX_OMISSIONS);
        Self { mac: mac.ok(), address, not_done }
    }

    /// The one address that the client may use: the first.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// What of the `ip` node is not done, in words.
    pub fn not_done(&self) -> impl Iterator<Item = String> {
        self.not_done.iter().map(|what| match what {
            Omission::NoAddress(word) => {
                format!("ip: {word} is no address: none of them is used, and everything it sends is dropped")
            }
            Omission::Ipv6(address) => format!("ip: IPv6 is not forwarded: {address} is not used"),
            Omission::Second(address) => format!(
                "ip: one vif has one address, since rules and shares are per address: {address} is not used; \
                 give it a vif of its own"
            ),
        })
    }

    /// The client's Ethernet address.
    pub fn mac(&self) -> Option<Mac> {
        self.mac
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

    #[test]
    fn the_first_ipv4_address_is_the_client_s() {
        let identity = Identity::parse("00:16:3e:01:02:03", "10.137.0.5 fd09:24ef:4179::a89:5");
        assert_eq!((identity.mac(), identity.address()), (Some(MAC), Some(ADDRESS)));
    }

    #[test]
    fn v_5_of_several_addresses_only_the_first_is_admitted() {
        let identity = Identity::parse("00:16:3e:01:02:03", "10.137.0.5 10.137.0.6");
        assert_eq!(identity.address(), Some(ADDRESS));
    }

    #[test]
    fn client_without_readable_addresses_has_none() {
        for (mac, addresses) in
            [("00:16:3e:01:02:03", ""), ("00:16:3e:01:02:03", "10.137.0.5 x"), ("x", "10.137.0.5")]
        {
            let identity = Identity::parse(mac, addresses);
            assert!(identity.mac().is_none() || identity.address().is_none());
        }
    }
}
