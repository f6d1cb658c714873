//! Entries of a database, each a key and a value, in two pieces of memory: all text in one, and an index in key order.
//!
//! What they cost is known to the byte and what they may cost is said by whoever puts an entry in, so that a peer cannot take
//! more by many small values than by a few large ones. A dump comes in falling order and changes come in rising order:
//! either way an entry costs a move of the index, eight bytes for each that it passes.

use super::fault::ValueFault;
use alloc::string::String;
use alloc::vec::Vec;

/// What the allocator takes for itself, for both pieces.
const ALLOCATION_BYTES: usize = 32;

/// Where an entry is in the text: its key, and right behind it its value.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u32,
    value_bytes: u16,
    key_bytes: u8,
    /// Of what cannot be used no value is kept.
    is_text: bool,
}

/// What became of an entry that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there, and was not or was another.
    Changed,
    /// It is there, as before.
    Same,
    /// There is no room for it: everything is as before.
    NoRoom,
}

/// Keys with their values.
#[derive(Debug, Default)]
pub struct Entries {
    text: String,
    /// Sorted by key.
    places: Vec<Place>,
    /// Bytes of the text that no entry has any more.
    dead: usize,
}

impl Entries {
    /// How much memory they take beside the structure itself.
    pub fn cost(&self) -> usize {
        match self.places.capacity() {
            0 => 0,
            places => self.text.capacity() + places * size_of::<Place>() + ALLOCATION_BYTES,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The keys in order, each with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Result<&str, ValueFault>)> {
        self.places.iter().map(|&place| (self.key(place), self.value(place)))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<Result<&str, ValueFault>> {
        let at = self.find(key).ok()?;
        self.places.get(at).map(|&place| self.value(place))
    }

    /// Puts an entry in, or a value in the place of another. They may cost `most` bytes then.
    #[inline(never)]
    pub fn put(&mut self, key: &str, value: &[u8], most: usize) -> Put {
        let text = core::str::from_utf8(value).ok().filter(|text| !text.chars().any(char::is_control));
        let value = text.unwrap_or_default();
        let (at, is_new) = match self.find(key) {
            Ok(at) => (at, false),
            Err(at) => (at, true),
        };
        let before = self.places.get(at).copied().filter(|_| !is_new);
        if before.is_some_and(|place| place.is_text == text.is_some() && self.value_text(place) == value) {
            return Put::Same;
        }
        if !self.make_room(key.len() + value.len(), usize::from(is_new), most) {
            return Put::NoRoom;
        }
        // Making room moves text, not places.
        let before = self.places.get(at).copied().filter(|_| !is_new);
        let place = Place {
            at: self.text.len() as u32,
            value_bytes: value.len() as u16,
            key_bytes: key.len() as u8,
            is_text: text.is_some(),
        };
        self.text.push_str(key);
        self.text.push_str(value);
        match (before, self.places.get_mut(at)) {
            (Some(before), Some(entry)) => {
                self.dead += bytes(before);
                *entry = place;
            }
            _ => self.places.insert(at, place),
        }
        Put::Changed
    }

    /// Puts in an entry that cannot be read, as [`Self::put`].
    pub fn put_unreadable(&mut self, key: &str, most: usize) -> Put {
        self.put(key, &[0], most)
    }

    /// Takes out the entries whose key is `key`, or begins so if `key` ends with a slash. Whether there was one.
    #[inline(never)]
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.places.len();
        let (text, is_prefix) = (&self.text, key.ends_with('/'));
        let mut dead = 0;
        self.places.retain(|&place| {
            let found = text_at(text, place.at, place.key_bytes.into());
            let goes = if is_prefix { found.starts_with(key) } else { found == key };
            dead += if goes { bytes(place) } else { 0 };
            !goes
        });
        self.dead += dead;
        if self.places.is_empty() {
            *self = Self::default();
        }
        before > self.places.len()
    }

    fn key(&self, place: Place) -> &str {
        text_at(&self.text, place.at, place.key_bytes.into())
    }

    fn value_text(&self, place: Place) -> &str {
        text_at(&self.text, place.at + u32::from(place.key_bytes), place.value_bytes.into())
    }

    fn value(&self, place: Place) -> Result<&str, ValueFault> {
        if place.is_text { Ok(self.value_text(place)) } else { Err(ValueFault::NotText) }
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.places.binary_search_by(|&place| self.key(place).cmp(key))
    }

    /// Makes room for so many bytes of text and entries. Whether they then cost no more than `most`.
    fn make_room(&mut self, text_bytes: usize, entries: usize, most: usize) -> bool {
        let entries = self.places.len() + entries;
        let cost = |text: usize, entries: usize| text + entries * size_of::<Place>() + ALLOCATION_BYTES;
        let is_full = self.text.len() + text_bytes > self.text.capacity();
        // It may also have more in reserve than it may have now.
        if self.dead > 0 && (is_full || cost(self.text.capacity(), entries) > most) {
            self.compact();
        }
        let text = self.text.len() + text_bytes;
        let capacity = |needed: usize, have: usize, step: usize| {
            if needed > have { needed + needed / 8 + step } else { have }
        };
        let (wanted_text, wanted_entries) =
            (capacity(text, self.text.capacity(), 32), capacity(entries, self.places.capacity(), 4));
        let (text_capacity, entry_capacity) = if cost(wanted_text, wanted_entries) <= most {
            (wanted_text, wanted_entries)
        } else {
            // Not as much as would be good, but enough.
            (text.max(self.text.capacity()), entries.max(self.places.capacity()))
        };
        if cost(text_capacity, entry_capacity) > most || text_capacity > u32::MAX as usize {
            return false;
        }
        self.text.reserve_exact(text_capacity - self.text.len());
        self.places.reserve_exact(entry_capacity - self.places.len());
        true
    }

    /// Leaves out of the text what no entry has any more.
    fn compact(&mut self) {
        let mut text = String::with_capacity(self.text.len() - self.dead);
        for place in &mut self.places {
            let entry = text_at(&self.text, place.at, bytes(*place));
            place.at = text.len() as u32;
            text.push_str(entry);
        }
        (self.text, self.dead) = (text, 0);
    }
}

/// How many bytes of text an entry has.
fn bytes(place: Place) -> usize {
    usize::from(place.key_bytes) + usize::from(place.value_bytes)
}

#[inline(never)]
fn text_at(text: &str, at: u32, bytes: usize) -> &str {
    let at = at as usize;
    text.get(at..at + bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    const KEYS: [&str; 6] = ["a", "a/", "a/b", "a/c", "b", ""];

    proptest! {
        #[test]
        fn are_a_map_that_takes_no_more_than_it_may(
            steps in prop::collection::vec((0..6usize, prop::collection::vec(32u8..127, 0..40), 0..4u8), 0..200),
            most in 64..400usize,
        ) {
            let (mut entries, mut map) = (Entries::default(), BTreeMap::new());
            for (key, value, act) in steps {
                let key = KEYS[key];
                if act == 0 {
                    let before = map.len();
                    map.retain(|found: &&str, _| if key.ends_with('/') { !found.starts_with(key) } else { *found != key });
                    prop_assert_eq!(entries.remove(key), map.len() < before);
                } else {
                    let put = entries.put(key, &value, most);
                    let expected = if map.get(key) == Some(&value) { Put::Same } else { Put::Changed };
                    prop_assert!(put == expected || put == Put::NoRoom && expected == Put::Changed);
                    if put == Put::Changed {
                        map.insert(key, value);
                    }
                }
                prop_assert!(entries.cost() <= most);
                let seen: Vec<_> = entries.iter().map(|(key, value)| (key, value.unwrap().as_bytes().to_vec())).collect();
                prop_assert_eq!(seen, map.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_is_replaced_for_ever_takes_no_more_room() {
        let mut entries = Entries::default();
        for number in 0..1000 {
            let value = [b'0' + (number % 10) as u8; 100];
            assert_eq!(entries.put("key", &value, 700), Put::Changed, "{number}");
            assert_eq!(entries.put("key", &value, 700), Put::Same);
        }
    }

    #[test]
    fn what_is_no_text_is_there_without_a_value() {
        let mut entries = Entries::default();
        for wrong in [&b"a\xff"[..], b"a\0", b"a\nb", b"\x7f"] {
            entries.put("key", b"", 1000);
            assert_eq!(entries.put("key", wrong, 1000), Put::Changed);
            assert_eq!(entries.get("key"), Some(Err(ValueFault::NotText)));
        }
        assert_eq!(entries.put("key", "é".as_bytes(), 1000), Put::Changed);
        assert_eq!(entries.get("key"), Some(Ok("é")));
    }
}
