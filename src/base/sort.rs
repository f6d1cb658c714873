//! Sorting, the same code for everything: of the library's sort each type that it is used with is some 8 KiB of the image.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// Sorts by a number; of equals the order stays. Takes 16 bytes of memory per item meanwhile.
pub fn sort_by_key<T>(items: &mut [T], key: impl Fn(&T) -> u64) {
    let order = order_of(items.len(), &mut |place| items.get(place).map_or(0, &key));
    make(order, &mut |place, from| items.swap(place, from));
}

/// The swaps that sort items of which only the keys are known; see [`sort_to_swaps`].
#[inline(never)]
fn order_of(items: usize, key: &mut dyn FnMut(usize) -> u64) -> Vec<(u64, u32)> {
    let mut order: Vec<(u64, u32)> = (0..items).map(key).zip(0..).collect();
    sort_to_swaps(&mut order);
    order
}

/// Makes these swaps.
#[inline(never)]
fn make(swaps: Vec<(u64, u32)>, swap: &mut dyn FnMut(usize, usize)) {
    swaps.into_iter().enumerate().for_each(|(place, (_, from))| swap(place, from as usize));
}

/// Sorts addresses.
#[inline(never)]
pub fn sort_addresses(addresses: &mut [Ipv4Addr]) {
    sort_by_key(addresses, |address| u64::from(address.to_bits()));
}

/// Makes of keys, each with its place, the swaps that sort what they are the keys of: of each place, in order, with a
/// later one.
fn sort_to_swaps(order: &mut [(u64, u32)]) {
    order.sort_unstable();
    for place in 0..order.len() {
        // What belongs here has gone where what stood here belonged, and so on.
        let mut from = place;
        loop {
            from = order.get(from).map_or(place, |(_, from)| *from as usize);
            if from >= place {
                break;
            }
        }
        if let Some((_, swap)) = order.get_mut(place) {
            *swap = from as u32;
        }
    }
}

/// The same for a few items, in so many steps squared, without memory.
pub fn sort_few_by_key<T>(items: &mut [T], key: impl Fn(&T) -> u64) {
    for end in 1..items.len() {
        let mut at = end;
        while let Some([before, item]) = items.get(..=at).and_then(<[T]>::last_chunk)
            && key(item) < key(before)
        {
            items.swap(at - 1, at);
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_as_the_library_does(keys in prop::collection::vec(0u64..20, 0..60)) {
            let mut items: Vec<(u64, usize)> = keys.into_iter().zip(0..).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            let mut few = items.clone();
            sort_by_key(&mut items, |(key, _)| *key);
            prop_assert_eq!(&items, &expected);
            sort_few_by_key(&mut few, |(key, _)| *key);
            prop_assert_eq!(few, expected);
        }
    }
}
