//! A hash index over the records of a slab, exactly as large as it will ever be.
//!
//! Buckets are chains of ids. An open-addressing table would need room for tombstones or grow on the data
//! path when they fill it (hashbrown resizes once more than half its entries are live); chains delete
//! exactly, never move anything and cost one head and one link of four bytes each.

use crate::base::bug::bug;
use alloc::vec::Vec;

use super::slab::Id;

/// Where the links of a chain are kept: beside the records, or in them.
pub trait ChainLinks<T> {
    /// The record after `id` in its bucket.
    fn next(&self, id: Id<T>) -> Option<Id<T>>;

    /// Changes which record comes after `id`.
    fn set_next(&mut self, id: Id<T>, next: Option<Id<T>>);
}

/// The first record of each bucket.
///
/// The caller computes hashes with a secret key, so nobody outside can make a chain long on purpose.
pub struct Heads<T> {
    heads: Vec<Option<Id<T>>>,
    mask: u64,
}

impl<T> Heads<T> {
    /// Empty buckets for a slab of `capacity` records: as many, rounded up to a power of two.
    pub fn new(capacity: usize) -> Heads<T> {
        let buckets = capacity.max(1).next_power_of_two();
        let mut heads = Vec::new();
        heads.resize_with(buckets, || None);
        Heads { heads, mask: buckets as u64 - 1 }
    }

    /// Empties all buckets. What links lead to is the caller's.
    pub fn clear(&mut self) {
        self.heads.fill(None);
    }

    /// Bytes that the heads for `capacity` records take.
    pub const fn bytes(capacity: usize) -> usize {
        capacity.next_power_of_two() * size_of::<Option<Id<T>>>()
    }

    /// The first record of the bucket of `hash`.
    #[inline(always)]
    pub fn first(&self, hash: u64) -> Option<Id<T>> {
        *self.heads.get((hash & self.mask) as usize)?
    }

    /// Enters `id` under `hash`; it must not be entered yet.
    pub fn insert(&mut self, hash: u64, id: Id<T>, chain: &mut impl ChainLinks<T>) {
        if let Some(head) = self.heads.get_mut((hash & self.mask) as usize) {
            chain.set_next(id, head.replace(id));
        }
    }

    /// Takes `id` out, which was entered under `hash`.
    pub fn remove(&mut self, hash: u64, id: Id<T>, chain: &mut impl ChainLinks<T>) {
        let Some(head) = self.heads.get_mut((hash & self.mask) as usize) else { return };
        let after = chain.next(id);
        chain.set_next(id, None);
        if *head == Some(id) {
            *head = after;
            return;
        }
        let mut at = *head;
        while let Some(other) = at {
            let next = chain.next(other);
            if next == Some(id) {
                return chain.set_next(other, after);
            }
            at = next;
        }
        bug("a record is not in its bucket");
    }

    /// Records in the fullest bucket: for tests of the keyed hash.
    pub fn longest_chain(&self, next: impl Fn(Id<T>) -> Option<Id<T>>) -> usize {
        let length = |head: &Option<Id<T>>| core::iter::successors(*head, |id| next(*id)).count();
        self.heads.iter().map(length).max().unwrap_or(0)
    }
}

/// Links beside the records.
struct Beside<T>(Vec<Option<Id<T>>>);

impl<T> ChainLinks<T> for Beside<T> {
    fn next(&self, id: Id<T>) -> Option<Id<T>> {
        self.0.get(id.position()).copied().flatten()
    }

    fn set_next(&mut self, id: Id<T>, next: Option<Id<T>>) {
        if let Some(link) = self.0.get_mut(id.position()) {
            *link = next;
        }
    }
}

/// Finds records by a keyed hash of their name, with nothing in the records themselves.
pub struct Index<T> {
    heads: Heads<T>,
    chain: Beside<T>,
}

impl<T> Index<T> {
    /// An empty index for a slab of `capacity` records.
    pub fn new(capacity: usize) -> Index<T> {
        let mut links = Vec::new();
        links.resize_with(capacity, || None);
        Index { heads: Heads::new(capacity), chain: Beside(links) }
    }

    /// Bytes that an index for `capacity` records takes.
    pub const fn bytes(capacity: usize) -> usize {
        Heads::<T>::bytes(capacity) + capacity * size_of::<Option<Id<T>>>()
    }

    /// The first record under `hash` that `is_it` recognises.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(Id<T>) -> bool) -> Option<Id<T>> {
        core::iter::successors(self.heads.first(hash), |id| self.chain.next(*id)).find(|id| is_it(*id))
    }

    /// Enters `id` under `hash`; it must not be entered yet.
    pub fn insert(&mut self, hash: u64, id: Id<T>) {
        self.heads.insert(hash, id, &mut self.chain);
    }

    /// Takes `id` out, which was entered under `hash`.
    pub fn remove(&mut self, hash: u64, id: Id<T>) {
        self.heads.remove(hash, id, &mut self.chain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::slab::Slab;

    #[test]
    fn records_in_one_bucket_are_found_and_removed_one_by_one() {
        let mut slab = Slab::new(8);
        let mut index = Index::new(8);
        let ids = ['a', 'b', 'c'].map(|name| slab.insert(name).unwrap());
        for id in ids {
            index.insert(8, id);
        }
        let find = |index: &Index<char>, name| index.find(0, |id| slab.get(id) == Some(&name));
        assert_eq!(index.heads.longest_chain(|id| index.chain.next(id)), 3);
        for (removed, left) in [(1, ['a', 'c'].as_slice()), (2, &['a']), (0, &[])] {
            index.remove(0, ids[removed]);
            for name in ['a', 'b', 'c'] {
                assert_eq!(find(&index, name).is_some(), left.contains(&name));
            }
        }
    }
}
