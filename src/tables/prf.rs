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
