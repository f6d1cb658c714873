//! A table of records that is sized once and never moves, and lists threaded through it.
//!
//! Ids are four bytes and typed by what they name. A record's list links live beside it in [`Links`], not in it, so
//! that the packet path touches the record only.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU32;

/// The name of a record in a [`Slab`].
pub struct Id<T>(NonZeroU32, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// The id of the record at `position`, counted from zero.
    fn at(position: usize) -> Option<Id<T>> {
        let number = u32::try_from(position).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(|number| Id(number, PhantomData))
    }

    /// The position of the record, counted from zero: for tables that lie beside the slab.
    pub const fn position(self) -> usize {
        (self.0.get() - 1) as usize
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "#{}", self.position())
    }
}

/// A place in a [`Slab`].
enum SlabSlot<T> {
    Taken(T),
    Vacant { next: Option<Id<T>> },
}

/// Records of one kind: a fixed number of places, taken and freed in constant time.
pub struct Slab<T> {
    places: Vec<SlabSlot<T>>,
    vacant: Option<Id<T>>,
    capacity: usize,
    taken: usize,
}

impl<T> Slab<T> {
    /// Bytes that one place takes.
    pub const PLACE_BYTES: usize = size_of::<SlabSlot<T>>();

    /// An empty slab of `capacity` places, all allocated now.
    pub fn new(capacity: usize) -> Slab<T> {
        Slab { places: Vec::with_capacity(capacity), vacant: None, capacity, taken: 0 }
    }

    /// Records in it.
    pub const fn len(&self) -> usize {
        self.taken
    }

    /// Whether it holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Whether every place is taken.
    pub const fn is_full(&self) -> bool {
        self.taken >= self.capacity
    }

    /// Places in all.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// One more than the highest position ever taken.
    pub const fn extent(&self) -> usize {
        self.places.len()
    }

    /// The id of the record at `position`, if one is there.
    pub fn id_at(&self, position: usize) -> Option<Id<T>> {
        match self.places.get(position)? {
            SlabSlot::Taken(_) => Id::at(position),
            SlabSlot::Vacant { .. } => None,
        }
    }

    /// Puts a record in; gives it back when the slab is full.
    pub fn insert(&mut self, record: T) -> Result<Id<T>, T> {
        if let Some(id) = self.vacant
            && let Some(place) = self.places.get_mut(id.position())
            && let SlabSlot::Vacant { next } = *place
        {
            self.vacant = next;
            *place = SlabSlot::Taken(record);
            self.taken += 1;
            return Ok(id);
        }
        match Id::at(self.places.len()) {
            Some(id) if self.places.len() < self.capacity => {
                self.places.push(SlabSlot::Taken(record));
                self.taken += 1;
                Ok(id)
            }
            _ => Err(record),
        }
    }

    /// The record `id`, if it is there.
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        match self.places.get(id.position())? {
            SlabSlot::Taken(record) => Some(record),
            SlabSlot::Vacant { .. } => None,
        }
    }

    /// The record `id`, if it is there.
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        match self.places.get_mut(id.position())? {
            SlabSlot::Taken(record) => Some(record),
            SlabSlot::Vacant { .. } => None,
        }
    }

    /// Takes the record `id` out.
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        let place = self.places.get_mut(id.position())?;
        if matches!(place, SlabSlot::Vacant { .. }) {
            return None;
        }
        let freed = core::mem::replace(place, SlabSlot::Vacant { next: self.vacant });
        self.vacant = Some(id);
        self.taken -= 1;
        match freed {
            SlabSlot::Taken(record) => Some(record),
            SlabSlot::Vacant { .. } => None,
        }
    }
}

/// The two ends of a list threaded through [`Links`].
pub struct Ends<T> {
    first: Option<Id<T>>,
    last: Option<Id<T>>,
}

impl<T> Ends<T> {
    /// The list without members.
    pub const EMPTY: Ends<T> = Ends { first: None, last: None };

    /// The member that was added first.
    pub const fn first(&self) -> Option<Id<T>> {
        self.first
    }
}

impl<T> Clone for Ends<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ends<T> {}

/// A record's neighbours in the list it is on.
struct ListLinks<T> {
    before: Option<Id<T>>,
    after: Option<Id<T>>,
}

/// Links for lists of the records of one slab: each record is on at most one list.
///
/// Which list a record is on is the caller's knowledge: [`Links::remove`] must be given the ends of that one.
pub struct Links<T>(Vec<ListLinks<T>>);

impl<T> Links<T> {
    /// Bytes per record.
    pub const LINK_BYTES: usize = size_of::<ListLinks<T>>();

    /// Links for the records of a slab of `capacity` places.
    pub fn new(capacity: usize) -> Links<T> {
        let mut links = Vec::new();
        links.resize_with(capacity, || ListLinks { before: None, after: None });
        Links(links)
    }

    /// Adds `id` at the end of the list.
    pub fn push(&mut self, ends: &mut Ends<T>, id: Id<T>) {
        match ends.last.and_then(|last| self.0.get_mut(last.position())) {
            Some(link) => link.after = Some(id),
            None => ends.first = Some(id),
        }
        if let Some(link) = self.0.get_mut(id.position()) {
            *link = ListLinks { before: ends.last, after: None };
        }
        ends.last = Some(id);
    }

    /// Moves all members of `more` to the end of the list, in as many steps whatever their number.
    pub fn append(&mut self, ends: &mut Ends<T>, more: &mut Ends<T>) {
        let (Some(first), Some(last)) = (more.first.take(), more.last.take()) else { return };
        match ends.last.and_then(|last| self.0.get_mut(last.position())) {
            Some(link) => link.after = Some(first),
            None => ends.first = Some(first),
        }
        if let Some(link) = self.0.get_mut(first.position()) {
            link.before = ends.last;
        }
        ends.last = Some(last);
    }

    /// The member that was added after `id`.
    pub fn after(&self, id: Id<T>) -> Option<Id<T>> {
        self.0.get(id.position())?.after
    }

    /// Takes `id` off the list.
    pub fn remove(&mut self, ends: &mut Ends<T>, id: Id<T>) {
        let Some(link) = self.0.get_mut(id.position()) else { return };
        let ListLinks { before, after } = core::mem::replace(link, ListLinks { before: None, after: None });
        match before.and_then(|before| self.0.get_mut(before.position())) {
            Some(link) => link.after = after,
            None => ends.first = after,
        }
        match after.and_then(|after| self.0.get_mut(after.position())) {
            Some(link) => link.before = before,
            None => ends.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn a_full_slab_gives_the_record_back_and_a_freed_place_is_used_again() {
        let mut slab = Slab::new(2);
        let first = slab.insert('a').unwrap();
        let second = slab.insert('b').unwrap();
        assert_eq!(slab.insert('c'), Err('c'));
        assert!(slab.is_full());
        assert_eq!(slab.remove(first), Some('a'));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.insert('d'), Ok(first));
        assert_eq!((slab.get(first), slab.get(second), slab.len()), (Some(&'d'), Some(&'b'), 2));
    }

    fn members(links: &Links<u8>, ends: &Ends<u8>) -> Vec<usize> {
        let mut found = vec![];
        let mut at = ends.first;
        while let Some(id) = at {
            found.push(id.position());
            at = links.0[id.position()].after;
        }
        found
    }

    #[test]
    fn a_list_keeps_its_order_whoever_leaves() {
        let mut links = Links::<u8>::new(5);
        let mut ends = Ends::EMPTY;
        let ids: Vec<_> = (0..5).map(|n| Id::at(n).unwrap()).collect();
        for id in &ids {
            links.push(&mut ends, *id);
        }
        links.remove(&mut ends, ids[2]);
        assert_eq!(members(&links, &ends), [0, 1, 3, 4]);
        links.remove(&mut ends, ids[0]);
        links.remove(&mut ends, ids[4]);
        assert_eq!(members(&links, &ends), [1, 3]);
        links.push(&mut ends, ids[0]);
        assert_eq!(members(&links, &ends), [1, 3, 0]);
        for id in [1, 3, 0] {
            links.remove(&mut ends, ids[id]);
        }
        assert!(ends.first.is_none() && ends.last.is_none());
    }

    #[test]
    fn a_list_that_is_appended_to_another_is_empty_and_its_members_are_on_that() {
        let mut links = Links::<u8>::new(5);
        let (mut one, mut other) = (Ends::EMPTY, Ends::EMPTY);
        let ids: Vec<_> = (0..5).map(|n| Id::at(n).unwrap()).collect();
        links.append(&mut one, &mut other);
        assert_eq!(members(&links, &one), []);
        links.push(&mut other, ids[4]);
        links.push(&mut other, ids[2]);
        links.append(&mut one, &mut other);
        assert_eq!((members(&links, &one), members(&links, &other)), (vec![4, 2], vec![]));
        links.push(&mut other, ids[0]);
        links.push(&mut other, ids[1]);
        links.append(&mut one, &mut other);
        links.push(&mut one, ids[3]);
        assert_eq!(members(&links, &one), [4, 2, 0, 1, 3]);
        for id in [0, 3, 4, 1, 2] {
            links.remove(&mut one, ids[id]);
        }
        assert!(one.first.is_none() && one.last.is_none());
    }
}
