//! What we write into the database, for people who look: how many triggers of each source were handled, and the addresses of
//! names in rules.
//!
//! Nothing is ever taken out again. The daemon ends when it is to remove what it does not have, and also when it has no room
//! in the ring for its answer just then, which depends on what dom0 writes meanwhile: nobody on our side can know. So a name
//! that has no addresses any more gets an empty set instead.

use super::message::MAX_VALUE;
use super::path::{HANDLED, is_entry};
use crate::base::text::decimal;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::Ipv4Addr;

/// What the counts of handled triggers may take.
const COUNTS_BYTES: usize = 32 << 10;

/// What the addresses of names may take.
const NAMES_BYTES: usize = 64 << 10;

/// What an entry takes beside its text, with what the list and the allocator have in reserve.
const ENTRY_BYTES: usize = size_of::<WrittenEntry>() * 3 / 2 + 32;

/// How many addresses of a name are told.
const MAX_ADDRESSES: usize = 32;

/// The entries that are ours. However many names there are, counts have room of their own.
#[derive(Debug)]
pub struct WrittenEntries {
    counts: BoundedEntries,
    names: BoundedEntries,
}

/// Entries of one kind.
#[derive(Debug)]
struct BoundedEntries {
    /// Sorted by path.
    entries: Vec<WrittenEntry>,
    cost: usize,
    budget: usize,
}

#[derive(Debug)]
struct WrittenEntry {
    path: String,
    value: String,
    /// The daemon does not have it yet.
    is_due: bool,
}

impl WrittenEntry {
    fn cost(&self) -> usize {
        ENTRY_BYTES + self.path.len() + self.value.len()
    }
}

impl Default for WrittenEntries {
    fn default() -> Self {
        Self { counts: BoundedEntries::new(COUNTS_BYTES), names: BoundedEntries::new(NAMES_BYTES) }
    }
}

impl WrittenEntries {
    /// There is a fresh connection, maybe to another daemon: it is told what names stand for. Counts go on from its own.
    pub fn connected(&mut self) {
        self.names.entries.iter_mut().for_each(|entry| entry.is_due = true);
    }

    /// The daemon has so many triggers of a source as handled.
    pub fn found(&mut self, path: &str, value: &[u8]) {
        let text = core::str::from_utf8(value).ok();
        let there: u32 = text.and_then(decimal).unwrap_or(0);
        if there > self.counts.number(path) {
            self.counts.put(path, format!("{there}"), false);
        }
    }

    /// One more trigger of the source is handled.
    pub fn handled(&mut self, source: &str) {
        let path = format!("{HANDLED}{source}");
        let count = self.counts.number(&path).saturating_add(1);
        self.counts.put(&path, format!("{count}"), true);
    }

    /// A name in the rules of a source has these addresses. A name that is too long for a path is left out.
    pub fn name(&mut self, source: Ipv4Addr, host: &str, addresses: impl Iterator<Item = Ipv4Addr>) {
        let path = format!("/dns/{source}/{host}");
        // As Python writes a set.
        let mut value = String::new();
        for address in addresses.take(MAX_ADDRESSES) {
            // Writing to memory does not fail.
            let _ = write!(value, "{}'{address}/32'", if value.is_empty() { "{" } else { ", " });
        }
        value.push_str(if value.is_empty() { "set()" } else { "}" });
        if self.names.value(&path) != Some(&value) {
            self.names.put(&path, value, true);
        }
    }

    /// An entry that the daemon does not have yet; it counts as sent from now on.
    pub fn next_due(&mut self) -> Option<(&str, &str)> {
        self.counts.next_due().or_else(|| self.names.next_due())
    }
}

impl BoundedEntries {
    const fn new(budget: usize) -> Self {
        Self { entries: Vec::new(), cost: 0, budget }
    }

    fn next_due(&mut self) -> Option<(&str, &str)> {
        let entry = self.entries.iter_mut().find(|entry| entry.is_due)?;
        entry.is_due = false;
        Some((&entry.path, &entry.value))
    }

    fn value(&self, path: &str) -> Option<&String> {
        let entry = self.find(path).ok().and_then(|at| self.entries.get(at));
        entry.map(|entry| &entry.value)
    }

    fn number(&self, path: &str) -> u32 {
        self.value(path).and_then(|value| decimal(value)).unwrap_or(0)
    }

    fn put(&mut self, path: &str, value: String, is_due: bool) {
        if !is_entry(path) || value.len() > MAX_VALUE {
            return;
        }
        let entry = WrittenEntry { path: path.into(), value, is_due };
        let at = self.find(path);
        if let Ok(at) = at {
            let before = self.entries.remove(at);
            self.cost -= before.cost();
        }
        if self.cost + entry.cost() > self.budget {
            self.forget_one();
        }
        if self.cost + entry.cost() <= self.budget {
            self.cost += entry.cost();
            let at = self.find(path).unwrap_or_else(|at| at);
            self.entries.insert(at, entry);
        }
    }

    /// Forgets an entry that the daemon has: what is counted in it begins anew.
    fn forget_one(&mut self) {
        if let Some(at) = self.entries.iter().position(|entry| !entry.is_due) {
            let entry = self.entries.remove(at);
            self.cost -= entry.cost();
        }
    }

    fn find(&self, path: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_names_there_are_counts_are_written_and_go_on() {
        let mut written = WrittenEntries::default();
        written.handled("10.137.0.5");
        assert!(written.next_due().is_some());
        let name = |written: &mut WrittenEntries, number: u32| {
            let client = Ipv4Addr::from_bits(0x0a89_0000 + number);
            written.name(client, "www.example", [Ipv4Addr::new(192, 0, 2, 1)].into_iter());
        };
        (0..5000).for_each(|number| name(&mut written, number));
        assert!(written.names.cost <= NAMES_BYTES && written.names.entries.len() > 100);
        written.handled("10.137.0.5");
        assert_eq!(written.next_due(), Some(("/qubes-firewall-handled/10.137.0.5", "2")));
        // Nor do counts take the room of names.
        while written.next_due().is_some() {}
        (0..5000).for_each(|number| written.handled(&format!("10.137.{}.{}", number / 250, number % 250)));
        assert!(written.counts.cost <= COUNTS_BYTES);
        name(&mut written, 70_000);
        assert!(written.names.entries.iter().any(|entry| entry.is_due));
    }
}
