//! The only source of chance: a small seeded pseudo-random generator (SplitMix64), so that a seed is a whole run.

use alloc::vec::Vec;

/// A generator. Equal seeds give equal numbers.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// A generator for a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A generator of its own for somebody else.
    pub fn split(&mut self) -> Self {
        Self::new(self.bits())
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; zero when that is zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.bits() % limit }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `per_mille` of thousand draws.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        let index = self.below(items.len() as u64) as usize;
        items.get(index).expect("something to pick from")
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.bits().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// The bytes `from..from + count` of the endless content that `key` names.
pub fn content(key: u64, from: usize, count: usize) -> Vec<u8> {
    let first = from / 8;
    let last = (from + count).div_ceil(8);
    let words = (first..last).flat_map(|word| Prng::new(key ^ (word as u64) << 20).bits().to_le_bytes());
    words.skip(from % 8).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_however_it_is_cut() {
        let whole = content(7, 0, 100);
        assert_eq!(content(7, 13, 50), whole[13..63]);
        assert_ne!(content(8, 0, 100), whole);
    }
}
