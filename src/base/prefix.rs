//! An address with a prefix length: a network, or an address within one.

use crate::base::address::Address;
use crate::base::text::decimal;
use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

/// An address and how many of its leading bits name the network.
///
/// Host bits are kept: `10.0.0.2/24` is the address 10.0.0.2 in the network 10.0.0.0/24. Two prefixes are
/// equal when address and length are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix<A> {
    address: A,
    length: u8,
}

/// A prefix of IPv4: its length is 0 to 32.
pub type Ipv4Prefix = Prefix<Ipv4Addr>;

impl<A: Address> Prefix<A> {
    /// Every address: `0.0.0.0/0`, `::/0`.
    pub const EVERYTHING: Self = Self { address: A::UNSPECIFIED, length: 0 };

    /// `None` when `length` is more than an address has bits.
    pub const fn new(address: A, length: u8) -> Option<Self> {
        if length > A::WIDTH { None } else { Some(Self { address, length }) }
    }

    /// One address: `/32`, `/128`.
    pub const fn host(address: A) -> Self {
        Self { address, length: A::WIDTH }
    }

    /// The address as written, host bits included.
    pub const fn address(self) -> A {
        self.address
    }

    /// Leading bits that name the network.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// The lowest address of the network.
    pub fn first(self) -> A {
        self.address & A::mask(self.length)
    }

    /// The highest address of the network.
    pub fn last(self) -> A {
        self.address | !A::mask(self.length)
    }

    /// The network alone: host bits zero.
    pub fn network(self) -> Self {
        Self { address: self.first(), length: self.length }
    }

    /// Whether `address` is in the network.
    pub fn contains(self, address: A) -> bool {
        address & A::mask(self.length) == self.first()
    }
}

/// What is wrong with the text of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// The part before the slash is no address of this family.
    Address,
    /// The part after the slash is no number from 0 to the bits of an address.
    Length,
}

impl<A: Address> FromStr for Prefix<A> {
    type Err = PrefixError;

    /// Reads an address, a slash and a length, or an address alone for just that one.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, decimal(length).ok_or(PrefixError::Length)?),
            None => (text, A::WIDTH),
        };
        let address = address.parse().map_err(|_| PrefixError::Address)?;
        Self::new(address, length).ok_or(PrefixError::Length)
    }
}

impl<A: Address> fmt::Display for Prefix<A> {
    /// As it is read; the length of one address is not written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == A::WIDTH {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

impl<A: Address> fmt::Debug for Prefix<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use core::net::Ipv6Addr;

    type Ipv6Prefix = Prefix<Ipv6Addr>;

    #[test]
    fn reads_what_it_writes() {
        for text in ["10.0.0.2/24", "10.0.0.2", "0.0.0.0/0", "255.255.255.255/1"] {
            assert_eq!(text.parse::<Ipv4Prefix>().unwrap().to_string(), text);
        }
        for text in ["2001:db8::2/64", "2001:db8::2", "::/0", "ffff::1/1", "fe80::/127"] {
            assert_eq!(text.parse::<Ipv6Prefix>().unwrap().to_string(), text);
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
        for (text, error) in [
            ("2001:db8::/129", PrefixError::Length),
            ("2001:db8::/256", PrefixError::Length),
            ("2001:db8::/+8", PrefixError::Length),
            ("2001:db8/32", PrefixError::Address),
            ("10.0.0.0/24", PrefixError::Address),
            ("fe80::1%1/64", PrefixError::Address),
        ] {
            assert_eq!(text.parse::<Ipv6Prefix>(), Err(error), "{text}");
        }
        assert_eq!("::1".parse::<Ipv4Prefix>(), Err(PrefixError::Address));
    }

    #[test]
    fn host_bits_are_kept_and_masked_away() {
        let prefix: Ipv4Prefix = "10.1.2.3/16".parse().unwrap();
        assert_eq!(prefix.first().to_string(), "10.1.0.0");
        assert_eq!(prefix.last().to_string(), "10.1.255.255");
        assert!(prefix.contains(Ipv4Addr::new(10, 1, 9, 9)));
        assert!(!prefix.contains(Ipv4Addr::new(10, 2, 2, 3)));
        assert!(Ipv4Prefix::EVERYTHING.contains(Ipv4Addr::BROADCAST));
        assert_eq!(prefix.network().to_string(), "10.1.0.0/16");

        let prefix: Ipv6Prefix = "2001:db8:0:1::1234/63".parse().unwrap();
        assert_eq!(prefix.first().to_string(), "2001:db8::");
        assert_eq!(prefix.last().to_string(), "2001:db8:0:1:ffff:ffff:ffff:ffff");
        assert_eq!(prefix.network().to_string(), "2001:db8::/63");
        assert!(prefix.contains("2001:db8::1".parse().unwrap()));
        assert!(!prefix.contains("2001:db8:0:2::1234".parse().unwrap()));
        assert!(Ipv6Prefix::EVERYTHING.contains(Ipv6Addr::LOCALHOST));
        assert!(!Ipv6Prefix::host(Ipv6Addr::LOCALHOST).contains(Ipv6Addr::UNSPECIFIED));
    }
}
