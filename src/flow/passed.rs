//! Which datagrams have passed in pieces of late.
//!
//! A datagram is forgotten when all of it has passed. A duplicate of one of its later fragments that comes after that
//! would wait for a first fragment that does not come, and hold memory until it times out. Its datagram's key is
//! remembered for a moment, as the keyed hash that it is filed under; a newer one with the same place takes that over,
//! which costs no more than such a wait. First fragments are never asked about: a key may be used again.

use crate::base::tick::{Seconds, Tick};
use alloc::boxed::Box;

/// Keys that are remembered: a power of two.
const PLACES: usize = 256;

/// How long a key is remembered: duplicates made on a link or by two paths are behind by less.
const MEMORY: Seconds = Seconds(1);

/// The hashes of the keys of such datagrams, each with the last second in which it is remembered.
pub struct Passed {
    keys: Box<[Option<(u64, Tick)>; PLACES]>,
}

impl Default for Passed {
    fn default() -> Self {
        Passed { keys: Box::new([None; PLACES]) }
    }
}

impl Passed {
    /// The datagram whose key has this hash has passed.
    pub fn note(&mut self, hash: u64, now: Tick) {
        self.keys[hash as usize % PLACES] = Some((hash, now.after(MEMORY)));
    }

    /// Whether the datagram whose key has this hash passed a moment ago.
    pub fn knows(&self, hash: u64, now: Tick) -> bool {
        self.keys[hash as usize % PLACES].is_some_and(|(key, until)| key == hash && !until.is_over(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_remembered_for_a_moment() {
        let mut passed = Passed::default();
        passed.note(7, Tick(10));
        assert!(passed.knows(7, Tick(10)) && passed.knows(7, Tick(11)));
        assert!(!passed.knows(7, Tick(12)) && !passed.knows(7 + PLACES as u64, Tick(10)));
        passed.note(7 + PLACES as u64, Tick(10));
        assert!(!passed.knows(7, Tick(10)));
    }
}
