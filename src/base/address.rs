//! What code that serves both IP versions asks of an address.
//!
//! The trait is sealed: there are two families, and what is written over [`Address`] is tested with both.

use core::fmt;
use core::hash::Hash;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::{BitAnd, BitOr, Not};
use core::str::FromStr;

mod sealed {
    pub trait Sealed {}
    impl Sealed for core::net::Ipv4Addr {}
    impl Sealed for core::net::Ipv6Addr {}
}

/// An IPv4 or IPv6 address. Addresses are in the order of their numbers.
pub trait Address:
    sealed::Sealed
    + Copy
    + Ord
    + Hash
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + Not<Output = Self>
    + FromStr
    + fmt::Display
    + fmt::Debug
{
    /// Bits in an address.
    const WIDTH: u8;

    /// The protocol number of the family's ICMP (RFC 792, RFC 4443).
    const ICMP: u8;

    /// All bits zero.
    const UNSPECIFIED: Self;

    /// The highest `length` bits one, the others zero.
    fn mask(length: u8) -> Self;

    /// The address after this one; `None` after the highest.
    fn next(self) -> Option<Self>;

    /// The address as a number, its first byte the highest.
    fn number(self) -> u128;
}

impl Address for Ipv4Addr {
    const WIDTH: u8 = 32;

    const ICMP: u8 = 1;

    const UNSPECIFIED: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

    fn mask(length: u8) -> Ipv4Addr {
        // A shift by the whole width leaves no bit.
        Ipv4Addr::from_bits(!u32::MAX.checked_shr(length.into()).unwrap_or(0))
    }

    fn next(self) -> Option<Ipv4Addr> {
        self.to_bits().checked_add(1).map(Ipv4Addr::from_bits)
    }

    #[inline(always)]
    fn number(self) -> u128 {
        self.to_bits().into()
    }
}

impl Address for Ipv6Addr {
    const WIDTH: u8 = 128;

    const ICMP: u8 = 58;

    const UNSPECIFIED: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

    fn mask(length: u8) -> Ipv6Addr {
        Ipv6Addr::from_bits(!u128::MAX.checked_shr(length.into()).unwrap_or(0))
    }

    fn next(self) -> Option<Ipv6Addr> {
        self.to_bits().checked_add(1).map(Ipv6Addr::from_bits)
    }

    #[inline(always)]
    fn number(self) -> u128 {
        self.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks<A: Address>() {
        for length in 0..=A::WIDTH {
            let ones = A::mask(length).number() << (128 - u32::from(A::WIDTH));
            assert_eq!((ones.leading_ones(), ones.count_ones()), (length.into(), length.into()));
        }
    }

    #[test]
    fn a_mask_has_as_many_ones_as_it_is_long_and_they_lead() {
        masks::<Ipv4Addr>();
        masks::<Ipv6Addr>();
    }

    #[test]
    fn nothing_comes_after_the_highest_address() {
        assert_eq!(Ipv4Addr::new(10, 0, 0, 255).next(), Some(Ipv4Addr::new(10, 0, 1, 0)));
        assert_eq!(Ipv4Addr::BROADCAST.next(), None);
        assert_eq!(Ipv6Addr::LOCALHOST.next(), Some(Ipv6Addr::from_bits(2)));
        assert_eq!(Ipv6Addr::mask(128).next(), None);
    }
}
