//! Unpredictable numbers: SipHash-1-3 of a counter under a secret key.
//!
//! RFC 6056 section 3.3.3 asks for ports that somebody who sees some of them cannot guess the next of; a keyed
//! pseudo-random function gives that at the price of one hash.

use siphasher::sip::SipHasher13;

/// A source of numbers that only the holder of the key can foresee.
pub struct Prf {
    hasher: SipHasher13,
    drawn: u64,
}

impl Prf {
    /// Numbers under the secret `key`.
    pub fn new(key: (u64, u64)) -> Prf {
        Prf { hasher: SipHasher13::new_with_keys(key.0, key.1), drawn: 0 }
    }

    /// From now on numbers under a key that depends on the one before and on `seed`.
    pub fn mix(&mut self, seed: (u64, u64)) {
        let half = |number: u64| {
            let mut input = [0; 24];
            let parts = [seed.0, seed.1, number];
            for (to, from) in input.iter_mut().zip(parts.iter().flat_map(|part| part.to_le_bytes())) {
                *to = from;
            }
            self.hasher.hash(&input)
        };
        self.hasher = SipHasher13::new_with_keys(half(1), half(2));
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        self.hasher.hash(&self.drawn.to_le_bytes())
    }

    /// A number below `limit`, each as likely as any other (to within 2⁻³²); zero for a limit of zero.
    pub fn below(&mut self, limit: u32) -> u32 {
        let high_bits = self.bits() >> 32;
        ((high_bits * u64::from(limit)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_the_key_and_on_what_is_mixed_in() {
        let numbers = |key, seed: Option<(u64, u64)>| {
            let mut prf = Prf::new(key);
            seed.into_iter().for_each(|seed| prf.mix(seed));
            [prf.bits(), prf.bits()]
        };
        let all = [
            numbers((1, 2), None),
            numbers((1, 2), Some((0, 0))),
            numbers((1, 2), Some((0, 1))),
            numbers((1, 2), Some((1, 0))),
            numbers((3, 2), Some((0, 1))),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(all.iter().skip(place + 1).all(|other| other[0] != one[0] && other[1] != one[1]));
        }
        assert_eq!(numbers((1, 2), Some((0, 1))), all[2]);
    }
}
