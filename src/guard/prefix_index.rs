//! Networks within networks: which of them an address is in, the smallest first.
//!
//! Two different networks are either apart or one holds the other. So the address line falls into at most
//! 2n + 1 intervals, each with one smallest network around it; an address is looked up by binary search over
//! their starts, and the networks around are found by going from each to the one that holds it, at most
//! 32 steps. A look-up allocates nothing and costs O(log n + depth).

use crate::base::prefix::Ipv4Prefix;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The place of a network in the list that the index was made of.
type NetworkId = u32;

#[derive(Clone, Copy, Debug)]
struct Interval {
    start: u32,
    smallest: Option<NetworkId>,
}

/// Where networks lie within each other.
#[derive(Debug, Default)]
pub struct PrefixIndex {
    intervals: Box<[Interval]>,
    /// Per network, the next larger one that holds it.
    parents: Box<[Option<NetworkId>]>,
}

impl PrefixIndex {
    /// Arranges networks. They must be sorted by [`order`] and none be there twice.
    pub fn new(networks: &[Ipv4Prefix]) -> PrefixIndex {
        debug_assert!(networks.is_sorted_by(|a, b| order(*a) < order(*b)));
        let mut builder = PrefixIndexBuilder::default();
        let mut parents = Vec::with_capacity(networks.len());
        for (place, network) in (0..).zip(networks) {
            builder.close_before(network.first());
            parents.push(builder.open.last().map(|(place, _)| *place));
            builder.begin(network.first().to_bits(), Some(place));
            builder.open.push((place, network.last()));
        }
        builder.close_all();
        PrefixIndex { intervals: builder.intervals.into(), parents: parents.into() }
    }

    /// The networks that hold `address`, by their index in the list, the smallest first.
    pub fn containing(&self, address: Ipv4Addr) -> impl Iterator<Item = usize> + '_ {
        let after = self.intervals.partition_point(|interval| interval.start <= address.to_bits());
        let interval = after.checked_sub(1).and_then(|index| self.intervals.get(index));
        let smallest = interval.and_then(|interval| interval.smallest);
        core::iter::successors(smallest.map(|place| place as usize), |place| self.parent(*place))
    }

    /// The next larger network that holds the one at `place`.
    pub fn parent(&self, place: usize) -> Option<usize> {
        self.parents.get(place).copied().flatten().map(|place| place as usize)
    }
}

/// The order in which [`PrefixIndex::new`] wants networks: by first address, the larger before those in it.
pub fn order(network: Ipv4Prefix) -> u64 {
    u64::from(network.first().to_bits()) << 8 | u64::from(network.length())
}

#[derive(Default)]
struct PrefixIndexBuilder {
    intervals: Vec<Interval>,
    /// Networks that contain the present place, the largest first, with their last address.
    open: Vec<(NetworkId, Ipv4Addr)>,
}

impl PrefixIndexBuilder {
    fn begin(&mut self, start: u32, smallest: Option<NetworkId>) {
        match self.intervals.last_mut() {
            Some(last) if last.start == start => last.smallest = smallest,
            _ => self.intervals.push(Interval { start, smallest }),
        }
    }

    fn close_before(&mut self, address: Ipv4Addr) {
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
    fn close(&mut self, last: Ipv4Addr) {
        if let Some(start) = last.to_bits().checked_add(1) {
            self.begin(start, self.open.last().map(|(place, _)| *place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_every_network_around_an_address_the_smallest_first() {
        let networks = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.255.0.0/16"];
        let networks: Vec<Ipv4Prefix> = networks.iter().map(|text| text.parse().unwrap()).collect();
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

    /// Few bits, so that networks meet.
    fn any_network() -> impl Strategy<Value = Ipv4Prefix> {
        (prop::sample::select(alloc::vec![0u32, 0x0a00_0000, 0xff00_0000]), 0u32..64, 0u8..=32).prop_map(
            |(base, low, length)| Ipv4Prefix::new(Ipv4Addr::from_bits(base + low), length).unwrap().network(),
        )
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_network(
            mut networks in prop::collection::vec(any_network(), 0..40),
            low in 0u32..70,
            base in prop::sample::select(alloc::vec![0u32, 0x0a00_0000, 0xff00_0000, 0xffff_ffba]),
        ) {
            networks.sort_by_key(|network| order(*network));
            networks.dedup();
            let address = Ipv4Addr::from_bits(base + low.min(69));
            let mut expected: Vec<usize> =
                (0..networks.len()).filter(|&i| networks[i].contains(address)).collect();
            expected.sort_by_key(|&i| core::cmp::Reverse(networks[i].length()));
            let found: Vec<usize> = PrefixIndex::new(&networks).containing(address).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
