//! The rules that the daemon has for each source, within a bound on what all of them take ([`MemoryShares`]).
//!
//! A source with too many rules takes nothing from the others. It is marked, and of its rules nothing is kept, because half a
//! list could allow what the whole forbids; the mark goes with the subtree. A source that is not there may be forgotten when
//! another one needs the room: dom0 writes all its rules again before it is there again. For the same reason as above one
//! whose list then goes on without a beginning, which is the policy, is marked as well. In a dump, which is sorted, a list
//! begins with any name, and comes as a whole.

use super::entries::{Entries, Put};
use super::fault::SourceFault;
use crate::tables::memory_shares::MemoryShares;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// What dom0 writes first of a source's rules.
const POLICY: &str = "policy";

/// The sources, and what they take.
#[derive(Debug)]
pub struct RuleSources {
    /// Sorted by address.
    sources: Vec<SourceRules>,
    memory: MemoryShares,
    /// A source was left out or forgotten: whoever has no rules here may have some.
    is_incomplete: bool,
    /// What comes belongs to a dump.
    is_dump: bool,
}

#[derive(Debug)]
struct SourceRules {
    address: Ipv4Addr,
    rules: Entries,
    is_too_large: bool,
}

/// What a source takes beside its rules, with what the list of sources has in reserve.
const SOURCE_BYTES: usize =
    size_of::<SourceRules>() + size_of::<SourceRules>() / 8 + MemoryShares::ACCOUNT_BYTES;

impl RuleSources {
    /// No source; together they may take `budget_bytes`.
    pub const fn new(budget_bytes: usize) -> Self {
        let memory = MemoryShares::new(budget_bytes);
        Self { sources: Vec::new(), memory, is_incomplete: false, is_dump: false }
    }

    /// Says whether what comes from now on belongs to a dump.
    pub const fn set_dump(&mut self, is_dump: bool) {
        self.is_dump = is_dump;
    }

    /// Says which sources are there; `None` if nobody knows.
    #[inline(never)]
    pub fn set_present(&mut self, present: Option<Vec<Ipv4Addr>>) {
        self.memory.set_present(present);
        self.forget();
    }

    /// The sources that have rules, in order.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.sources.iter().map(|source| source.address)
    }

    /// Whether a source was left out or forgotten for want of room.
    pub const fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// The rules of a source and its policy, each with its name, in the order of their names.
    ///
    /// # Errors
    /// Why it is to be blocked.
    pub fn rules_of(&self, address: Ipv4Addr) -> Result<impl Iterator<Item = (&str, &str)>, SourceFault> {
        let absent = if self.is_incomplete { SourceFault::TooLarge } else { SourceFault::NoPolicy };
        let source = self.find(address).ok().and_then(|at| self.sources.get(at)).ok_or(absent)?;
        if source.is_too_large {
            return Err(SourceFault::TooLarge);
        }
        if source.rules.get(POLICY).is_none() {
            return Err(SourceFault::NoPolicy);
        }
        if source.rules.iter().any(|(_, value)| value.is_err()) {
            return Err(SourceFault::NotText);
        }
        Ok(source.rules.iter().filter_map(|(name, value)| Some((name, value.ok()?))))
    }

    /// Puts in a rule of a source, or its policy, by its name.
    #[inline(never)]
    pub fn put(&mut self, address: Ipv4Addr, name: &str, value: &[u8]) {
        self.memory.hear_of(address);
        self.put_in(address, name, value);
        self.forget();
    }

    fn put_in(&mut self, address: Ipv4Addr, name: &str, value: &[u8]) {
        let most = self.memory.most(address);
        let at = match self.find(address) {
            Ok(at) => at,
            Err(_) if most < SOURCE_BYTES => {
                self.memory.leave(address);
                self.is_incomplete = true;
                return;
            }
            Err(at) => {
                self.insert(at, address, name);
                at
            }
        };
        let Some(source) = self.sources.get_mut(at) else { return };
        if !source.is_too_large
            && source.rules.put(name, value, most.saturating_sub(SOURCE_BYTES)) == Put::NoRoom
        {
            (source.rules, source.is_too_large) = (Entries::default(), true);
        }
        self.memory.hold(address, SOURCE_BYTES + source.rules.cost());
    }

    fn insert(&mut self, at: usize, address: Ipv4Addr, first_name: &str) {
        if self.sources.len() == self.sources.capacity() {
            self.sources.reserve_exact(self.sources.len() / 8 + 1);
        }
        // What stood before it may have been forgotten.
        let is_too_large = self.is_incomplete && !self.is_dump && first_name != POLICY;
        self.sources.insert(at, SourceRules { address, rules: Entries::default(), is_too_large });
    }

    /// Takes out whoever has to go for what others were given.
    #[inline(never)]
    fn forget(&mut self) {
        while let Some(gone) = self.memory.next_to_forget() {
            self.remove_all_of(gone);
            self.is_incomplete = true;
        }
    }

    /// Takes out one rule of a source. One that has too many keeps that mark.
    pub fn remove(&mut self, address: Ipv4Addr, name: &str) {
        let found = self.find(address).ok().and_then(|at| self.sources.get_mut(at));
        let Some(source) = found.filter(|source| !source.is_too_large) else { return };
        source.rules.remove(name);
        let (is_empty, bytes) = (source.rules.is_empty(), SOURCE_BYTES + source.rules.cost());
        self.memory.hold(address, bytes);
        if is_empty {
            self.remove_all_of(address);
        }
    }

    /// Takes out all rules of a source.
    #[inline(never)]
    pub fn remove_all_of(&mut self, address: Ipv4Addr) {
        self.memory.leave(address);
        if let Ok(at) = self.find(address) {
            self.sources.remove(at);
        }
    }

    /// Takes out all rules of all sources.
    pub fn remove_all(&mut self) {
        self.memory.leave_all();
        (self.sources, self.is_incomplete) = (Vec::new(), false);
    }

    /// What all of them take.
    pub fn cost(&self) -> usize {
        let rules: usize = self.sources.iter().map(|source| source.rules.cost()).sum();
        rules + self.sources.capacity() * size_of::<SourceRules>() + self.memory.cost()
    }

    fn find(&self, address: Ipv4Addr) -> Result<usize, usize> {
        self.sources.binary_search_by_key(&address, |source| source.address)
    }
}
