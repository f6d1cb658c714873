//! What is held of a memory that clients share, on an account for each address.
//!
//! A quarter is guaranteed in equal parts to the clients that are there, the rest is for whoever comes first, and nobody takes
//! more than half of that. Who is not there has no part and takes what is free; it is to be forgotten when somebody who is
//! there needs the room, of several the one that was longest not heard of. So neither those that have left nor one that
//! takes much can keep a client that is there from what it is guaranteed.

use super::share::Membership;
use crate::base::bug::OrBug;
use crate::base::sort::sort_addresses;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// How many may have a guaranteed part at a time. If more are there, one that is heard of takes the part of the one that was
/// longest not heard of.
const PARTS: usize = 128;

/// What one address holds.
#[derive(Clone, Copy, Debug)]
struct AddressHolding {
    owner: Ipv4Addr,
    bytes: usize,
    /// When it was heard of last.
    heard: u64,
    member: Membership,
}

/// Who holds how much, and what everybody may hold.
#[derive(Debug)]
pub struct MemoryShares {
    /// Sorted by owner.
    holdings: Vec<AddressHolding>,
    /// Who is there, sorted; `None` as long as nobody has said so: then everybody counts as there.
    present: Option<Vec<Ipv4Addr>>,
    part_bytes: usize,
    /// What there is beyond the parts.
    shared_bytes: usize,
    /// What members hold beyond their parts.
    beyond_parts: usize,
    /// What all others hold.
    lent: usize,
    members: usize,
    /// How often something was heard of anybody.
    heard: u64,
}

impl MemoryShares {
    /// What an account takes itself, with what the list of them has in reserve.
    pub const ACCOUNT_BYTES: usize = size_of::<AddressHolding>() + size_of::<AddressHolding>() / 8;

    /// Nobody holds anything of `bytes`.
    pub const fn new(bytes: usize) -> Self {
        let part_bytes = bytes / 4 / PARTS;
        Self {
            holdings: Vec::new(),
            present: None,
            part_bytes,
            shared_bytes: bytes - part_bytes * PARTS,
            beyond_parts: 0,
            lent: 0,
            members: 0,
            heard: 0,
        }
    }

    /// Says who is there; `None` if nobody knows. [`Self::next_to_forget`] is to be asked after that.
    #[inline(never)]
    pub fn set_present(&mut self, mut present: Option<Vec<Ipv4Addr>>) {
        if let Some(present) = &mut present {
            sort_addresses(present);
        }
        if present == self.present {
            return;
        }
        self.present = present;
        // First who is not there, so that there are parts for those who are.
        for member in [Membership::Guest, Membership::Member] {
            for at in 0..self.holdings.len() {
                let is_present = self.at(at).is_some_and(|holding| self.is_present(holding.owner));
                if is_present == (member == Membership::Member) && (!is_present || self.members < PARTS) {
                    self.set_membership(at, member);
                }
            }
        }
    }

    /// Notes that something is said of `owner`, which has an account from now on. [`Self::next_to_forget`] is to be asked
    /// before the next one is heard of.
    #[inline(never)]
    pub fn hear_of(&mut self, owner: Ipv4Addr) {
        self.heard += 1;
        let at = self.find(owner).unwrap_or_else(|at| {
            if self.holdings.len() == self.holdings.capacity() {
                self.holdings.reserve_exact(self.holdings.len() / 8 + 1);
            }
            let none = AddressHolding { owner, bytes: 0, heard: 0, member: Membership::Guest };
            self.holdings.insert(at, none);
            at
        });
        let Some(holding) = self.holdings.get_mut(at) else { return };
        holding.heard = self.heard;
        if holding.member == Membership::Member || !self.is_present(owner) {
            return;
        }
        if self.members == PARTS
            && let Some(silent) = self.longest_silent(Membership::Member)
        {
            self.set_membership(silent, Membership::Guest);
        }
        self.set_membership(at, Membership::Member);
    }

    /// How many bytes `owner` may hold. Whoever has to be forgotten for that, [`Self::next_to_forget`] says when it does.
    #[inline(never)]
    pub fn most(&self, owner: Ipv4Addr) -> usize {
        let holding = self.find(owner).ok().and_then(|at| self.at(at));
        let (own, member) =
            holding.map_or((0, Membership::Guest), |it| (self.uncovered(it.bytes, it.member), it.member));
        let (part, taken) = match member {
            Membership::Member => (self.part_bytes, self.beyond_parts),
            Membership::Guest => (0, self.beyond_parts + self.lent),
        };
        part + self.shared_bytes.saturating_sub(taken.saturating_sub(own)).min(self.shared_bytes / 2)
    }

    /// Notes what `owner` holds now: no more than [`Self::most`], or than before.
    #[inline(never)]
    pub fn hold(&mut self, owner: Ipv4Addr, bytes: usize) {
        let found = self.find(owner).ok().and_then(|at| Some((at, self.at(at)?)));
        if let Some((at, holding)) = found.or_bug("memory is held without an account") {
            self.book(at, bytes, holding.member);
        }
    }

    /// `owner` holds nothing any more, and its account is closed.
    #[inline(never)]
    pub fn leave(&mut self, owner: Ipv4Addr) {
        if let Ok(at) = self.find(owner) {
            self.book(at, 0, Membership::Guest);
            self.holdings.remove(at);
        }
    }

    /// Nobody holds anything any more.
    pub fn leave_all(&mut self) {
        self.holdings = Vec::new();
        (self.beyond_parts, self.lent, self.members) = (0, 0, 0);
    }

    /// Who has to leave, as more is held than there is. To be asked until it is nobody.
    #[inline(never)]
    pub fn next_to_forget(&self) -> Option<Ipv4Addr> {
        if self.beyond_parts + self.lent <= self.shared_bytes {
            return None;
        }
        let silent = self.longest_silent(Membership::Guest).and_then(|at| self.at(at));
        silent.or_bug("those who are there hold more than they may").map(|holding| holding.owner)
    }

    /// What the accounts take themselves.
    pub fn cost(&self) -> usize {
        self.holdings.capacity() * size_of::<AddressHolding>()
            + self.present.as_ref().map_or(0, Vec::capacity) * size_of::<Ipv4Addr>()
    }

    fn find(&self, owner: Ipv4Addr) -> Result<usize, usize> {
        self.holdings.binary_search_by_key(&owner, |holding| holding.owner)
    }

    fn at(&self, at: usize) -> Option<AddressHolding> {
        self.holdings.get(at).copied()
    }

    fn is_present(&self, owner: Ipv4Addr) -> bool {
        self.present.as_ref().is_none_or(|present| present.binary_search(&owner).is_ok())
    }

    #[inline(never)]
    fn longest_silent(&self, member: Membership) -> Option<usize> {
        let those = self.holdings.iter().enumerate().filter(|(_, holding)| holding.member == member);
        those.min_by_key(|(_, holding)| holding.heard).map(|(at, _)| at)
    }

    /// What of so many bytes is not of the owner's own part.
    const fn uncovered(&self, bytes: usize, member: Membership) -> usize {
        match member {
            Membership::Member => bytes.saturating_sub(self.part_bytes),
            Membership::Guest => bytes,
        }
    }

    fn set_membership(&mut self, at: usize, member: Membership) {
        let bytes = self.at(at).map_or(0, |holding| holding.bytes);
        self.book(at, bytes, member);
    }

    /// Changes what the account at a place holds, and as what.
    #[inline(never)]
    fn book(&mut self, at: usize, bytes: usize, member: Membership) {
        let Some(holding) = self.holdings.get_mut(at) else { return };
        let before = core::mem::replace(holding, AddressHolding { bytes, member, ..*holding });
        let given = self.uncovered(before.bytes, before.member);
        match before.member {
            Membership::Member => {
                (self.beyond_parts, self.members) = (self.beyond_parts - given, self.members - 1)
            }
            Membership::Guest => self.lent -= given,
        }
        let taken = self.uncovered(bytes, member);
        match member {
            Membership::Member => {
                (self.beyond_parts, self.members) = (self.beyond_parts + taken, self.members + 1)
            }
            Membership::Guest => self.lent += taken,
        }
    }
}

#[cfg(test)]
#[path = "memory_shares_tests.rs"]
mod tests;
