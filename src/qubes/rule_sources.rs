//! The rules that the daemon has for each source, within a bound on what all of them take.
//!
//! A quarter of the memory is guaranteed in equal parts to the first sources that have rules; the rest is for whoever comes
//! first. So one source with too many rules takes nothing from the others. It is marked, and of its rules nothing is kept,
//! because half a list could allow what the whole forbids; the mark goes with the subtree.

use super::entries::{Entries, Put};
use super::fault::SourceFault;
use crate::base::bug::bug;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// How many sources have a part that is guaranteed.
const GUARANTEED: usize = 128;

/// The sources, and what they may take.
#[derive(Debug)]
pub struct RuleSources {
    /// Sorted by address.
    sources: Vec<SourceRules>,
    /// What is guaranteed to each of the first sources.
    part_bytes: usize,
    /// What there is beyond the guaranteed parts.
    shared_bytes: usize,
    /// What of that is taken.
    shared_taken: usize,
    /// How many sources have a guaranteed part.
    guaranteed: usize,
    /// A source was left out, as there was no room to note that it has rules.
    is_full: bool,
}

#[derive(Debug)]
struct SourceRules {
    address: Ipv4Addr,
    rules: Entries,
    /// Its guaranteed part.
    part_bytes: usize,
    is_too_large: bool,
}

/// What a source takes beside its rules, with what the list of sources has in reserve.
const SOURCE_BYTES: usize = size_of::<SourceRules>() + size_of::<SourceRules>() / 8;

impl SourceRules {
    /// What it takes of what all share.
    fn shared(&self) -> usize {
        (SOURCE_BYTES + self.rules.cost()).saturating_sub(self.part_bytes)
    }
}

impl RuleSources {
    /// No source; together they may take `budget_bytes`.
    pub fn new(budget_bytes: usize) -> Self {
        let part_bytes = budget_bytes / 4 / GUARANTEED;
        Self {
            sources: Vec::new(),
            part_bytes,
            shared_bytes: budget_bytes - part_bytes * GUARANTEED,
            shared_taken: 0,
            guaranteed: 0,
            is_full: false,
        }
    }

    /// The sources that have rules, in order.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.sources.iter().map(|source| source.address)
    }

    /// Whether a source was left out: whoever has no rules here may have some.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The rules of a source and its policy, each with its name, in the order of their names.
    ///
    /// # Errors
    /// Why it is to be blocked.
    pub fn rules_of(&self, address: Ipv4Addr) -> Result<impl Iterator<Item = (&str, &str)>, SourceFault> {
        let absent = if self.is_full { SourceFault::TooLarge } else { SourceFault::NoPolicy };
        let source = self.find(address).ok().and_then(|at| self.sources.get(at)).ok_or(absent)?;
        if source.is_too_large {
            return Err(SourceFault::TooLarge);
        }
        if source.rules.get("policy").is_none() {
            return Err(SourceFault::NoPolicy);
        }
        if source.rules.iter().any(|(_, value)| value.is_err()) {
            return Err(SourceFault::NotText);
        }
        Ok(source.rules.iter().filter_map(|(name, value)| Some((name, value.ok()?))))
    }

    /// Puts in a rule of a source, or its policy, by its name.
    pub fn put(&mut self, address: Ipv4Addr, name: &str, value: &[u8]) {
        let Some(at) = self.find(address).ok().or_else(|| self.insert(address)) else {
            self.is_full = true;
            return;
        };
        let Some(source) = self.sources.get_mut(at).filter(|source| !source.is_too_large) else {
            return;
        };
        let others = self.shared_taken.saturating_sub(source.shared());
        let most = source.part_bytes + self.shared_bytes.saturating_sub(others);
        if source.rules.put(name, value, most.saturating_sub(SOURCE_BYTES)) == Put::NoRoom {
            (source.rules, source.is_too_large) = (Entries::default(), true);
        }
        self.shared_taken = others + source.shared();
    }

    /// Takes out one rule of a source. One that has too many keeps that mark.
    pub fn remove(&mut self, address: Ipv4Addr, name: &str) {
        let found = self.find(address).ok().and_then(|at| self.sources.get_mut(at));
        let Some(source) = found.filter(|source| !source.is_too_large) else { return };
        let before = source.shared();
        source.rules.remove(name);
        let is_empty = source.rules.is_empty();
        self.shared_taken = self.shared_taken.saturating_sub(before) + source.shared();
        if is_empty {
            self.remove_all_of(address);
        }
    }

    /// Takes out all rules of a source.
    pub fn remove_all_of(&mut self, address: Ipv4Addr) {
        let Ok(at) = self.find(address) else { return };
        let source = self.sources.remove(at);
        self.shared_taken = self.shared_taken.saturating_sub(source.shared());
        self.guaranteed -= usize::from(source.part_bytes > 0);
    }

    /// Takes out all rules of all sources.
    pub fn remove_all(&mut self) {
        self.sources = Vec::new();
        (self.shared_taken, self.guaranteed, self.is_full) = (0, 0, false);
    }

    /// What all of them take.
    pub fn cost(&self) -> usize {
        let rules: usize = self.sources.iter().map(|source| source.rules.cost()).sum();
        rules + self.sources.capacity() * size_of::<SourceRules>()
    }

    /// Notes that a source has rules, if there is room for that: where.
    fn insert(&mut self, address: Ipv4Addr) -> Option<usize> {
        let part_bytes = if self.guaranteed < GUARANTEED { self.part_bytes } else { 0 };
        let source = SourceRules { address, rules: Entries::default(), part_bytes, is_too_large: false };
        if self.shared_taken + source.shared() > self.shared_bytes {
            return None;
        }
        let Err(at) = self.find(address) else {
            bug("a source is inserted twice");
            return None;
        };
        self.shared_taken += source.shared();
        self.guaranteed += usize::from(part_bytes > 0);
        if self.sources.len() == self.sources.capacity() {
            self.sources.reserve_exact(self.sources.len() / 8 + 1);
        }
        self.sources.insert(at, source);
        Some(at)
    }

    fn find(&self, address: Ipv4Addr) -> Result<usize, usize> {
        self.sources.binary_search_by_key(&address, |source| source.address)
    }
}
