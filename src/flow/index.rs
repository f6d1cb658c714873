//! A hash index over the records of a slab, exactly as large as it will ever be.
//!
//! Buckets are chains of ids. An open-addressing table would need room for tombstones or grow on the data
//! path when they fill it (hashbrown resizes once more than half its entries are live); chains delete
//! exactly, never move anything and cost one head and one link of four bytes each.

use alloc::vec::Vec;

use super::slab::Id;

/// Finds records by a keyed hash of their name.
///
/// The caller computes the hash with a secret key, so nobody outside can make a chain long on purpose.
pub struct Index<T> {
    heads: Vec<Option<Id<T>>>,
    next: Vec<Option<Id<T>>>,
    mask: u64,
}

impl<T> Index<T> {
    /// An empty index for a slab of `capacity` records: as many buckets, rounded up to a power of two.
    pub fn new(capacity: usize) -> Index<T> {
        let buckets = capacity.max(1).next_power_of_two();
        let mut heads = Vec::new();
        heads.resize_with(buckets, || None);
        let mut next = Vec::new();
        next.resize_with(capacity, || None);
        Index { heads, next, mask: buckets as u64 - 1 }
    }

    /// Bytes that an index for `capacity` records takes.
    pub const fn bytes(capacity: usize) -> usize {
        (capacity.next_power_of_two() + capacity) * size_of::<Option<Id<T>>>()
    }

    /// The first record of the bucket of `hash`.
    #[inline(always)]
    pub fn first(&self, hash: u64) -> Option<Id<T>> {
        *self.heads.get((hash & self.mask) as usize)?
    }

    /// The record after `id` in its bucket.
    #[inline(always)]
    pub fn next(&self, id: Id<T>) -> Option<Id<T>> {
        *self.next.get(id.position())?
    }

    /// The first record under `hash` that `is_it` recognises.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(Id<T>) -> bool) -> Option<Id<T>> {
        core::iter::successors(self.first(hash), |id| self.next(*id)).find(|id| is_it(*id))
    }

    /// Enters `id` under `hash`; it must not be entered yet.
    pub fn insert(&mut self, hash: u64, id: Id<T>) {
        let head = self.heads.get_mut((hash & self.mask) as usize);
        if let (Some(head), Some(next)) = (head, self.next.get_mut(id.position())) {
            *next = head.replace(id);
        }
    }

    /// Takes `id` out, which was entered under `hash`.
    pub fn remove(&mut self, hash: u64, id: Id<T>) {
        let Some(head) = self.heads.get_mut((hash & self.mask) as usize) else { return };
        let after = self.next.get_mut(id.position()).and_then(|next| next.take());
        if *head == Some(id) {
            *head = after;
            return;
        }
        let mut at = *head;
        while let Some(other) = at {
            let Some(next) = self.next.get_mut(other.position()) else { return };
            if *next == Some(id) {
                *next = after;
                return;
            }
            at = *next;
        }
    }

    /// Records in the fullest bucket: for tests of the keyed hash.
    pub fn longest_chain(&self) -> usize {
        let length = |head: &Option<Id<T>>| {
            core::iter::successors(*head, |id| self.next.get(id.position()).copied().flatten()).count()
        };
        self.heads.iter().map(length).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::slab::Slab;

    #[test]
    fn records_in_one_bucket_are_found_and_removed_one_by_one() {
        let mut slab = Slab::new(8);
        let mut index = Index::new(8);
        let ids = ['a', 'b', 'c'].map(|name| slab.insert(name).unwrap());
        for id in ids {
            index.insert(8, id);
        }
        let find = |index: &Index<char>, name| index.find(0, |id| slab.get(id) == Some(&name));
        assert_eq!(index.longest_chain(), 3);
        for (removed, left) in [(1, ['a', 'c'].as_slice()), (2, &['a']), (0, &[])] {
            index.remove(0, ids[removed]);
            for name in ['a', 'b', 'c'] {
                assert_eq!(find(&index, name).is_some(), left.contains(&name));
            }
        }
    }
}
