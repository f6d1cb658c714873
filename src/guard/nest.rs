//! Networks within networks: which of them an address is in, the smallest first.
//!
//! Two different networks are either apart or one holds the other. So the address line falls into at most
//! 2n + 1 stretches, each with one smallest network around it; an address is looked up by binary search over
//! their starts, and the networks around are found by going from each to the one that holds it, at most
//! 32 steps. A look-up allocates nothing and costs O(log n + depth).

use crate::base::prefix::Ipv4Prefix;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The place of a network in the list that the nest was made of.
type Place = u32;

#[derive(Clone, Copy, Debug)]
struct Stretch {
    start: u32,
    smallest: Option<Place>,
}

/// Where networks lie within each other.
#[derive(Debug, Default)]
pub struct Nest {
    stretches: Box<[Stretch]>,
    /// Per network, the next larger one that holds it.
    around: Box<[Option<Place>]>,
}

impl Nest {
    /// Arranges networks. They must be sorted by [`order`] and none be there twice.
    pub fn new(networks: &[Ipv4Prefix]) -> Nest {
        debug_assert!(networks.is_sorted_by(|a, b| order(*a) < order(*b)));
        let mut builder = Builder::default();
        let mut around = Vec::with_capacity(networks.len());
        for (place, network) in (0..).zip(networks) {
            builder.close_before(network.first());
            around.push(builder.open.last().map(|(place, _)| *place));
            builder.begin(network.first().to_bits(), Some(place));
            builder.open.push((place, network.last()));
        }
        builder.close_all();
        Nest { stretches: builder.stretches.into(), around: around.into() }
    }

    /// The networks that hold `address`, by their index in the list, the smallest first.
    pub fn around(&self, address: Ipv4Addr) -> impl Iterator<Item = usize> + '_ {
        let after = self.stretches.partition_point(|stretch| stretch.start <= address.to_bits());
        let stretch = after.checked_sub(1).and_then(|index| self.stretches.get(index));
        let smallest = stretch.and_then(|stretch| stretch.smallest);
        core::iter::successors(smallest.map(|place| place as usize), |place| self.holder(*place))
    }

    /// The next larger network that holds the one at `place`.
    pub fn holder(&self, place: usize) -> Option<usize> {
        self.around.get(place).copied().flatten().map(|place| place as usize)
    }
}

/// The order in which [`Nest::new`] wants networks: by first address, the larger before those in it.
pub fn order(network: Ipv4Prefix) -> (Ipv4Addr, u8) {
    (network.first(), network.length())
}

#[derive(Default)]
struct Builder {
    stretches: Vec<Stretch>,
    /// Networks around the present place, the largest first, with their last address.
    open: Vec<(Place, Ipv4Addr)>,
}

impl Builder {
    fn begin(&mut self, start: u32, smallest: Option<Place>) {
        match self.stretches.last_mut() {
            Some(last) if last.start == start => last.smallest = smallest,
            _ => self.stretches.push(Stretch { start, smallest }),
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
        let nest = Nest::new(&networks);
        let around = |text: &str| nest.around(text.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(around("10.1.2.3"), [3, 2, 1, 0]);
        assert_eq!(around("10.1.2.4"), [2, 1, 0]);
        assert_eq!(around("10.2.0.0"), [1, 0]);
        assert_eq!(around("10.255.255.255"), [4, 1, 0]);
        assert_eq!(around("11.0.0.0"), [0]);
        assert_eq!(around("255.255.255.255"), [0]);
        assert_eq!(Nest::default().around(Ipv4Addr::LOCALHOST).next(), None);
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
            let found: Vec<usize> = Nest::new(&networks).around(address).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
