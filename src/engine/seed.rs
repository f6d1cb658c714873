//! Random bytes that come while packets pass.

use core::fmt;
use siphasher::sip::SipHasher13;

/// What they come to: each bit depends on all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub(super) (u64, u64));

impl Seed {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let half = |number| SipHasher13::new_with_keys(number, 0).hash(bytes);
        Self((half(1), half(2)))
    }
}

/// Says nothing of it.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(_)")
    }
}
