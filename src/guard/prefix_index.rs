//! Networks within networks: which of them an address is in, the smallest first.
//!
//! Two different networks are either apart or one holds the other. So the address line falls into at most
//! 2n + 1 intervals, each with one smallest network around it; an address is looked up by binary search over
//! their starts, and the networks around are found by going from each to the one that holds it, at most as
//! many steps as an address has bits. A look-up allocates nothing and costs O(log n + depth).

use crate::base::address::Address;
use crate::base::prefix::Prefix;
use crate::base::sort::sort_by_key;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The place of a network in the list that the index was made of.
type NetworkId = u32;

#[derive(Clone, Copy, Debug)]
struct Interval<A> {
    start: A,
    smallest: Option<NetworkId>,
}

/// Where networks lie within each other.
#[derive(Debug)]
pub struct PrefixIndex<A> {
    intervals: Box<[Interval<A>]>,
    /// Per network, the next larger one that holds it.
    parents: Box<[Option<NetworkId>]>,
}

impl<A: Address> PrefixIndex<A> {
    /// Arranges networks. They must be sorted by [`sort_by_network`] and none be there twice.
    pub fn new(networks: &[Prefix<A>]) -> PrefixIndex<A> {
        debug_assert!(networks.is_sorted_by(|a, b| order(*a) < order(*b)));
        let mut builder = PrefixIndexBuilder { intervals: Vec::new(), open: Vec::new() };
        let mut parents = Vec::with_capacity(networks.len());
        for (place, network) in (0..).zip(networks) {
            builder.close_before(network.first());
            parents.push(builder.open.last().map(|(place, _)| *place));
            builder.begin(network.first(), Some(place));
            builder.open.push((place, network.last()));
        }
        builder.close_all();
        PrefixIndex { intervals: builder.intervals.into(), parents: parents.into() }
    }

    /// The networks that hold `address`, by their index in the list, the smallest first.
    pub fn containing(&self, address: A) -> impl Iterator<Item = usize> + '_ {
        let after = self.intervals.partition_point(|interval| interval.start <= address);
        let interval = after.checked_sub(1).and_then(|index| self.intervals.get(index));
        let smallest = interval.and_then(|interval| interval.smallest);
        core::iter::successors(smallest.map(|place| place as usize), |place| self.parent(*place))
    }

    /// The next larger network that holds the one at `place`.
    pub fn parent(&self, place: usize) -> Option<usize> {
        self.parents.get(place).copied().flatten().map(|place| place as usize)
    }
}

impl<A: Address> Default for PrefixIndex<A> {
    /// Without networks.
    fn default() -> Self {
        Self::new(&[])
    }
}

/// The order in which [`PrefixIndex::new`] wants networks: by first address, the larger before those in it.
fn order<A: Address>(network: Prefix<A>) -> (A, u8) {
    (network.first(), network.length())
}

/// Sorts items by their networks, as [`PrefixIndex::new`] wants them; of equals the order stays.
pub fn sort_by_network<A: Address, T>(items: &mut [T], network: impl Fn(&T) -> Prefix<A>) {
    // From what counts least to what counts most: where a pass finds equals, it leaves them as they are.
    let first = |item: &T| network(item).first().number();
    sort_by_key(items, |item| network(item).length().into());
    sort_by_key(items, |item| first(item) as u64);
    if A::WIDTH > 64 {
        sort_by_key(items, |item| (first(item) >> 64) as u64);
    }
}

struct PrefixIndexBuilder<A> {
    intervals: Vec<Interval<A>>,
    /// Networks that contain the present place, the largest first, with their last address.
    open: Vec<(NetworkId, A)>,
}

impl<A: Address> PrefixIndexBuilder<A> {
    fn begin(&mut self, start: A, smallest: Option<NetworkId>) {
        match self.intervals.last_mut() {
            Some(last) if last.start == start => last.smallest = smallest,
            _ => self.intervals.push(Interval { start, smallest }),
        }
    }

    fn close_before(&mut self, address: A) {
        while let Some((_, last)) = self.open.pop_if(|(_, last)| *last < address) {
            self.close(last);
        }
    }

    fn close_all(&mut self) {
        while let Some((_, last)) = self.open.pop() {
            self.close(last);
        }
    }

    /// What comes after a network's last address is in the network around it.
    fn close(&mut self, last: A) {
        if let Some(start) = last.next() {
            self.begin(start, self.open.last().map(|(place, _)| *place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    #[test]
    fn finds_every_network_around_an_address_the_smallest_first() {
        let networks = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.255.0.0/16"];
        let networks: Vec<Prefix<Ipv4Addr>> = networks.iter().map(|text| text.parse().unwrap()).collect();
        let prefixes = PrefixIndex::new(&networks);
        let containing = |text: &str| prefixes.containing(text.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(containing("10.1.2.3"), [3, 2, 1, 0]);
        assert_eq!(containing("10.1.2.4"), [2, 1, 0]);
        assert_eq!(containing("10.2.0.0"), [1, 0]);
        assert_eq!(containing("10.255.255.255"), [4, 1, 0]);
        assert_eq!(containing("11.0.0.0"), [0]);
        assert_eq!(containing("255.255.255.255"), [0]);
        assert_eq!(PrefixIndex::default().containing(Ipv4Addr::LOCALHOST).next(), None);
    }

    #[test]
    fn finds_networks_of_the_other_family_too() {
        let networks = ["::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::2", "2001:db8:ffff::/48"];
        let networks: Vec<Prefix<Ipv6Addr>> = networks.iter().map(|text| text.parse().unwrap()).collect();
        let prefixes = PrefixIndex::new(&networks);
        let containing = |text: &str| prefixes.containing(text.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(containing("2001:db8:1::2"), [3, 2, 1, 0]);
        assert_eq!(containing("2001:db8:1::3"), [2, 1, 0]);
        assert_eq!(containing("2001:db8:2::"), [1, 0]);
        assert_eq!(containing("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), [4, 1, 0]);
        assert_eq!(containing("2001:db9::"), [0]);
        assert_eq!(containing("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), [0]);
        assert_eq!(PrefixIndex::default().containing(Ipv6Addr::LOCALHOST).next(), None);
    }

    /// Networks and one address near them: few bits at both ends of the number, so that networks meet.
    fn any_case<A: Address>(
        number: fn(high: u8, low: u8) -> A,
    ) -> impl Strategy<Value = (Vec<Prefix<A>>, A)> {
        let high = || prop::sample::select(alloc::vec![0, 0x0a, 0xff]);
        let network = (high(), 0u8..64, 0..=A::WIDTH)
            .prop_map(move |(high, low, length)| Prefix::new(number(high, low), length).unwrap().network());
        let low = prop_oneof![0u8..70, 0xba..=0xffu8];
        (prop::collection::vec(network, 0..40), (high(), low).prop_map(move |(high, low)| number(high, low)))
    }

    /// Compares with looking at every network.
    fn compare<A: Address>(mut networks: Vec<Prefix<A>>, address: A) -> Result<(), TestCaseError> {
        sort_by_network(&mut networks, |network| *network);
        networks.dedup();
        let mut expected: Vec<usize> =
            (0..networks.len()).filter(|&i| networks[i].contains(address)).collect();
        expected.sort_by_key(|&i| core::cmp::Reverse(networks[i].length()));
        let found: Vec<usize> = PrefixIndex::new(&networks).containing(address).collect();
        prop_assert_eq!(found, expected);
        Ok(())
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_network(
            (networks, address) in any_case(|high, low| Ipv4Addr::new(high, 0, 0, low)),
        ) {
            compare(networks, address)?;
        }

        #[test]
        fn agrees_with_looking_at_every_network_of_ipv6(
            (networks, address) in any_case(|high, low| {
                Ipv6Addr::from_bits(u128::from(high) << 120 | u128::from(low))
            }),
        ) {
            compare(networks, address)?;
        }
    }
}
