//! An IPv4 address with a prefix length: a network, or an address within one.

use crate::base::text::decimal;
use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

/// An IPv4 address and how many of its leading bits name the network (0 to 32).
///
/// Host bits are kept: `10.0.0.2/24` is the address 10.0.0.2 in the network 10.0.0.0/24. Two prefixes are
/// equal when address and length are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Prefix {
    address: Ipv4Addr,
    length: u8,
}

impl Ipv4Prefix {
    /// Every address: `0.0.0.0/0`.
    pub const EVERYTHING: Ipv4Prefix = Ipv4Prefix { address: Ipv4Addr::UNSPECIFIED, length: 0 };

    /// `None` when `length` is above 32.
    pub const fn new(address: Ipv4Addr, length: u8) -> Option<Self> {
        if length > 32 { None } else { Some(Self { address, length }) }
    }

    /// One address: `/32`.
    pub const fn host(address: Ipv4Addr) -> Self {
        Self { address, length: 32 }
    }

    /// The address as written, host bits included.
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Leading bits that name the network.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// A one for every bit that names the network.
    const fn mask(self) -> u32 {
        // A shift by 32 (length 0) leaves no bit.
        match u32::MAX.checked_shl(32 - self.length as u32) {
            Some(mask) => mask,
            None => 0,
        }
    }

    /// The lowest address of the network.
    pub const fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() & self.mask())
    }

    /// The highest address of the network.
    pub const fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !self.mask())
    }

    /// The network alone: host bits zero.
    pub const fn network(self) -> Self {
        Self { address: self.first(), length: self.length }
    }

    /// Whether `address` is in the network.
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.address.to_bits()) & self.mask() == 0
    }
}

/// What is wrong with the text of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// The part before the slash is no dotted quad.
    Address,
    /// The part after the slash is no number from 0 to 32.
    Length,
}

impl FromStr for Ipv4Prefix {
    type Err = PrefixError;

    /// Reads `a.b.c.d/n`, or `a.b.c.d` for one address.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, decimal(length).ok_or(PrefixError::Length)?),
            None => (text, 32),
        };
        let address = address.parse().map_err(|_| PrefixError::Address)?;
        Self::new(address, length).ok_or(PrefixError::Length)
    }
}

impl fmt::Display for Ipv4Prefix {
    /// `a.b.c.d/n`; one address is written without its `/32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            32 => write!(f, "{}", self.address),
            length => write!(f, "{}/{length}", self.address),
        }
    }
}

impl fmt::Debug for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn reads_what_it_writes() {
        for text in ["10.0.0.2/24", "10.0.0.2", "0.0.0.0/0", "255.255.255.255/1"] {
            assert_eq!(text.parse::<Ipv4Prefix>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_prefix() {
        for (text, error) in [
            ("10.0.0/24", PrefixError::Address),
            ("10.0.0.0/33", PrefixError::Length),
            ("10.0.0.0/+8", PrefixError::Length),
            ("10.0.0.0/", PrefixError::Length),
            ("10.0.0.01", PrefixError::Address),
            ("", PrefixError::Address),
        ] {
            assert_eq!(text.parse::<Ipv4Prefix>(), Err(error), "{text}");
        }
    }

    #[test]
    fn host_bits_are_kept_and_masked_away() {
        let prefix: Ipv4Prefix = "10.1.2.3/16".parse().unwrap();
        assert_eq!(prefix.first().to_string(), "10.1.0.0");
        assert_eq!(prefix.last().to_string(), "10.1.255.255");
        assert!(prefix.contains(Ipv4Addr::new(10, 1, 9, 9)));
        assert!(!prefix.contains(Ipv4Addr::new(10, 2, 2, 3)));
        assert!(Ipv4Prefix::EVERYTHING.contains(Ipv4Addr::BROADCAST));
    }
}
