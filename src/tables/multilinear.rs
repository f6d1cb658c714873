//! Multilinear hashing of a few 32-bit words (Carter and Wegman 1979; Lemire and Kaser, "Strongly universal string hashing is
//! fast", 2014): a multiplication and an addition for each.
//!
//! h(x) = (k₀ + Σ kᵢ·xᵢ mod 2⁶⁴) div 2³², with random keys of 64 bits, is strongly universal: of any two messages that
//! differ, all pairs of hashes are equally likely. So whoever does not know the keys cannot choose messages that fall into
//! one bucket more often than by chance, however many there are. SipHash promises more: it stays so when hashes are seen.
//! Here nobody sees any: they never leave the table. Only how long a look-up takes could tell of them, if chains became
//! long; the table then takes new keys.

use super::prf::Prf;

/// Words that a message has at most.
pub const MAX_WORDS: usize = 6;

/// Keys of a hash.
#[derive(Clone, Copy, Debug)]
pub struct MultilinearKey {
    start: u64,
    factors: [u64; MAX_WORDS],
}

impl MultilinearKey {
    /// Keys that nobody can foresee.
    pub fn new(random: &mut Prf) -> MultilinearKey {
        MultilinearKey { start: random.bits(), factors: [(); MAX_WORDS].map(|()| random.bits()) }
    }

    /// Keys under which all messages have one hash.
    #[cfg(test)]
    pub fn constant() -> MultilinearKey {
        MultilinearKey { start: 0, factors: [0; MAX_WORDS] }
    }

    /// The hash of `words`. Messages of one table all have the same number of words.
    #[inline(always)]
    pub fn hash<const WORDS: usize>(&self, words: [u32; WORDS]) -> u32 {
        const { assert!(WORDS <= MAX_WORDS) };
        let products =
            words.iter().zip(&self.factors).map(|(word, factor)| factor.wrapping_mul((*word).into()));
        (products.fold(self.start, u64::wrapping_add) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn messages_that_differ_little_spread_as_by_chance() {
        const BUCKETS: usize = 256;
        let key = MultilinearKey::new(&mut Prf::new((1, 2)));
        let mut buckets = [0u32; BUCKETS];
        for (port, far) in (0..256).flat_map(|port| (0..256).map(move |far| (port, far))) {
            buckets[key.hash([0xC0A8_0000 + far, port << 16, 0x06]) as usize % BUCKETS] += 1;
        }
        // 256 each on average, with a deviation of 16.
        assert!(buckets.iter().all(|count| (128..=384).contains(count)), "{buckets:?}");
    }

    #[test]
    fn keys_are_others_each_time() {
        let mut random = Prf::new((1, 2));
        let hashes: Vec<u32> = (0..3).map(|_| MultilinearKey::new(&mut random).hash([1, 2, 3])).collect();
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    }
}
