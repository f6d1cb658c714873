//! SipHash-1-3 of a short message, as words (Aumasson and Bernstein, 2012).
//!
//! The siphasher crate takes byte slices of any length, which costs as much again as the hash itself; this is
//! on the path of every packet. It must agree with the crate, which a test checks.

/// A hash key, as the state that every message starts from.
#[derive(Clone, Copy, Debug)]
pub struct SipKey([u64; 4]);

impl SipKey {
    /// The key of these two words.
    pub const fn new(key: (u64, u64)) -> SipKey {
        SipKey([
            key.0 ^ 0x736F_6D65_7073_6575,
            key.1 ^ 0x646F_7261_6E64_6F6D,
            key.0 ^ 0x6C79_6765_6E65_7261,
            key.1 ^ 0x7465_6462_7974_6573,
        ])
    }

    /// The hash of a message of `words`, little-endian, and at most seven bytes more: `count` of them in `rest`, whose
    /// upper bytes must be zero.
    #[inline(always)]
    pub fn hash<const WORDS: usize>(&self, words: [u64; WORDS], rest: u64, count: u64) -> u64 {
        let last = rest | (8 * WORDS as u64 + count) << 56;
        let mut state = self.0;
        for word in words {
            state[3] ^= word;
            state = round(state);
            state[0] ^= word;
        }
        state[3] ^= last;
        state = round(state);
        state[0] ^= last;
        state[2] ^= 0xFF;
        state = round(round(round(state)));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }
}

/// One SipRound.
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use siphasher::sip::SipHasher13;

    #[test]
    fn the_hash_is_the_crates() {
        let mut word = 0x0123_4567_89AB_CDEFu64;
        let mut next = || {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word
        };
        for count in 0..=7 {
            for _ in 0..1000 {
                let (key, first, second) = ((next(), next()), next(), next());
                let rest = next() & ((1u64 << (8 * count)) - 1);
                let hasher = SipHasher13::new_with_keys(key.0, key.1);
                let message: Vec<u8> = [first, second, rest].iter().flat_map(|w| w.to_le_bytes()).collect();
                let expected = hasher.hash(&message[..16 + count]);
                assert_eq!(SipKey::new(key).hash([first, second], rest, count as u64), expected);
                let expected = hasher.hash(&[&message[..8], &message[16..16 + count]].concat());
                assert_eq!(SipKey::new(key).hash([first], rest, count as u64), expected);
            }
        }
    }
}
