//! The timer wheel: which flow may be over in which second.
//!
//! One bucket per second and a horizon of 8,192 seconds, so that every default timeout has its own bucket.
//! A flow that sees a packet only changes its deadline; the wheel learns of it when the flow's bucket comes
//! up, and then files it anew. So a packet never touches the wheel, a flow is looked at about once per
//! timeout, and each look costs constant time. A deadline that moves closer is told with [`Wheel::hasten`].

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::slab::{Ends, Id, Links};
use crate::base::bug::OrBug;
use crate::base::tick::Tick;

/// Buckets, one per second: a power of two.
const BUCKETS: usize = 8192;

/// Seconds from the wheel's present that a flow can be filed ahead.
const HORIZON: u32 = BUCKETS as u32 - 1;

/// What is due when, for the records of a slab.
pub struct Wheel<T> {
    buckets: Box<[Ends<T>]>,
    /// One bit per bucket that is not empty.
    filled: [u64; BUCKETS / 64],
    links: Links<T>,
    /// The second each record is filed under.
    filed: Vec<Tick>,
    /// The first second that has not been worked off.
    present: Tick,
}

impl<T> Wheel<T> {
    /// Bytes per record.
    pub const RECORD_BYTES: usize = Links::<T>::LINK_BYTES + size_of::<Tick>();

    /// An empty wheel for the records of a slab of `capacity` places.
    pub fn new(capacity: usize, now: Tick) -> Wheel<T> {
        Wheel {
            buckets: vec![Ends::EMPTY; BUCKETS].into_boxed_slice(),
            filled: [0; BUCKETS / 64],
            links: Links::new(capacity),
            filed: vec![Tick(0); capacity],
            present: now,
        }
    }

    /// Files `id` under the second after `deadline`, or as close to it as the horizon allows.
    pub fn file(&mut self, id: Id<T>, deadline: Tick) {
        let due = deadline.0.saturating_add(1).clamp(self.present.0, self.present.0.saturating_add(HORIZON));
        let bucket = due as usize % BUCKETS;
        if let (Some(ends), Some(filed)) = (self.buckets.get_mut(bucket), self.filed.get_mut(id.position())) {
            self.links.push(ends, id);
            *filed = Tick(due);
            self.filled[bucket / 64] |= 1 << (bucket % 64);
        }
    }

    /// Takes `id`, which must be filed, off the wheel.
    pub fn remove(&mut self, id: Id<T>) {
        let Some(filed) = self.filed.get(id.position()).or_bug("a record beyond the wheel's capacity") else {
            return;
        };
        let bucket = filed.0 as usize % BUCKETS;
        if let Some(ends) = self.buckets.get_mut(bucket) {
            self.links.remove(ends, id);
            if ends.first().is_none() {
                self.filled[bucket / 64] &= !(1 << (bucket % 64));
            }
        }
    }

    /// Files `id` anew when its `deadline` is now before the second it is filed under.
    pub fn hasten(&mut self, id: Id<T>, deadline: Tick) {
        if self.filed.get(id.position()).is_some_and(|filed| deadline.0.saturating_add(1) < filed.0) {
            self.remove(id);
            self.file(id, deadline);
        }
    }

    /// Takes off the next record whose second has come; `None` when all are worked off up to `now`.
    ///
    /// The caller removes the record for good or files it again under its present deadline.
    pub fn pop_due(&mut self, now: Tick) -> Option<Id<T>> {
        // After a jump of the clock beyond the horizon every bucket is due once.
        self.present = self.present.max(Tick(now.0.saturating_sub(HORIZON)));
        let due = self.next_due().filter(|due| *due <= now);
        let Some(due) = due else {
            self.present = self.present.max(now);
            return None;
        };
        self.present = due;
        let id = self.buckets.get(due.0 as usize % BUCKETS)?.first()?;
        self.remove(id);
        Some(id)
    }

    /// The next second in which a record may be due.
    pub fn next_due(&self) -> Option<Tick> {
        let start = self.present.0 as usize % BUCKETS;
        let words = self.filled.len();
        for step in 0..=words {
            let at = (start / 64 + step) % words;
            let mut word = self.filled[at];
            if step == 0 {
                word &= u64::MAX << (start % 64);
            } else if step == words {
                word &= !(u64::MAX << (start % 64));
            }
            if word != 0 {
                let bucket = at * 64 + word.trailing_zeros() as usize;
                let ahead = (bucket + BUCKETS - start) % BUCKETS;
                return Some(Tick(self.present.0.saturating_add(ahead as u32)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::slab::Slab;
    use std::vec::Vec;

    fn wheel(count: usize, now: u32) -> (Wheel<usize>, Vec<Id<usize>>) {
        let mut slab = Slab::new(count);
        let ids = (0..count).map(|n| slab.insert(n).unwrap()).collect();
        (Wheel::new(count, Tick(now)), ids)
    }

    #[test]
    fn a_record_is_due_in_the_second_after_its_deadline() {
        let (mut wheel, ids) = wheel(1, 100);
        wheel.file(ids[0], Tick(220));
        assert_eq!(wheel.next_due(), Some(Tick(221)));
        assert_eq!(wheel.pop_due(Tick(220)), None);
        assert_eq!(wheel.pop_due(Tick(221)), Some(ids[0]));
        assert_eq!(wheel.pop_due(Tick(221)), None);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn a_deadline_that_moves_closer_is_hastened() {
        let (mut wheel, ids) = wheel(2, 0);
        wheel.file(ids[0], Tick(7500));
        wheel.file(ids[1], Tick(100));
        wheel.hasten(ids[0], Tick(50));
        wheel.hasten(ids[1], Tick(200));
        assert_eq!(wheel.pop_due(Tick(60)), Some(ids[0]));
        assert_eq!(wheel.pop_due(Tick(101)), Some(ids[1]));
    }

    #[test]
    fn a_jump_of_the_clock_beyond_the_horizon_makes_everything_due_once() {
        let (mut wheel, ids) = wheel(50, 7);
        for (n, id) in ids.iter().enumerate() {
            wheel.file(*id, Tick(n as u32 * 160));
        }
        let mut found: Vec<_> =
            core::iter::from_fn(|| wheel.pop_due(Tick(4_000_000_000))).map(Id::position).collect();
        found.sort_unstable();
        assert!(found.iter().copied().eq(0..50));
        wheel.file(ids[0], Tick(4_000_000_010));
        assert_eq!(wheel.pop_due(Tick(4_000_000_011)), Some(ids[0]));
    }

    #[test]
    fn a_deadline_beyond_the_horizon_is_looked_at_early_and_never_late() {
        let (mut wheel, ids) = wheel(1, 0);
        wheel.file(ids[0], Tick(20_000));
        let early = wheel.next_due().unwrap();
        assert!(early <= Tick(20_001));
        assert_eq!(wheel.pop_due(early), Some(ids[0]));
        wheel.file(ids[0], Tick(20_000));
        wheel.file(ids[0], Tick(20_000));
    }

    #[test]
    fn every_bucket_is_found_from_every_start() {
        for start in [0, 1, 63, 64, 8191, 8192, 100_000] {
            let (mut wheel, ids) = wheel(1, start);
            for ahead in [0, 1, 62, 63, 64, 65, 4000, HORIZON - 1] {
                wheel.file(ids[0], Tick(start + ahead));
                assert_eq!(wheel.next_due(), Some(Tick(start + ahead + 1)));
                wheel.remove(ids[0]);
            }
        }
    }
}
