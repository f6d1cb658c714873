//! Mappings: one outer port per inner endpoint, whatever it talks to (endpoint-independent mapping, RFC 4787 REQ-1).
//!
//! A mapping is used as long as a flow uses it, and is in quarantine for a while after that: the same endpoint gets the same
//! port again, and nobody else gets it (RFC 6888 REQ-8). A client at its limit takes the port of its own that has been in
//! quarantine longest; a client that holds less than its guaranteed part takes one of whoever holds too much. The ports of
//! a client that is gone stay on its account, and are its own again when it comes back.

use alloc::boxed::Box;
use core::ops::RangeInclusive;

use siphasher::sip::SipHasher13;

use super::mapping::{Mapping, MappingLimits, NoPort, Shortage, Want};
use super::ports::{Pool, PoolKind, Reserved, per_pool};
use super::prf::Prf;
use super::quarantine::Quarantine;
use crate::base::bug::OrBug;
use crate::base::side::ClientSlot;
use crate::base::tick::{Seconds, Tick};
use crate::tables::index::Index;
use crate::tables::share::{Account, Fault, Membership, Share};
use crate::tables::slab::{Id, Links, Slab};

/// Whether a port that was in quarantine was found and freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freed {
    /// One was.
    One,
    /// There was none to be freed.
    None,
}

/// All mappings there are.
pub struct Mappings {
    slab: Slab<Mapping>,
    index: Index<Mapping>,
    hasher: SipHasher13,
    prf: Prf,
    pools: Box<[Pool]>,
    /// Who holds how many ports, per pool.
    shares: Box<[Share]>,
    /// Who holds how many mappings.
    records: Share,
    reserved: Reserved,
    own_ports: RangeInclusive<u16>,
    /// Mappings in quarantine, per pool.
    quarantines: Box<[Quarantine]>,
    links: Links<Mapping>,
    quarantine_time: Seconds,
    /// See [`Self::reused_early`].
    reused_early: u64,
}

/// Ports there are in a pool.
fn size(kind: PoolKind) -> u32 {
    u32::from(kind.range().end() - kind.range().start()) + 1
}

/// How many ports of a pool one client may hold: never all.
fn cap(kind: PoolKind, ports_per_client: u32) -> u32 {
    ports_per_client.min(size(kind) - size(kind) / 4)
}

impl Mappings {
    /// Bytes per mapping.
    pub const fn bytes_per_mapping(capacity: usize) -> usize {
        Slab::<Mapping>::PLACE_BYTES
            + Links::<Mapping>::LINK_BYTES
            + Index::<Mapping>::bytes(capacity).div_ceil(capacity)
    }

    /// No mappings yet. `own_ports` are never taken; `keys` seed the hash and the choice of ports.
    pub fn new(
        limits: MappingLimits,
        own_ports: RangeInclusive<u16>,
        quarantine_time: Seconds,
        keys: [(u64, u64); 2],
    ) -> Mappings {
        let places = limits.mappings as usize;
        let pools = per_pool(|kind| Pool::new(kind.range()));
        let shares = per_pool(|kind| Share::new(size(kind), cap(kind, limits.ports_per_client)));
        let mut mappings = Mappings {
            slab: Slab::new(places),
            index: Index::new(places),
            hasher: SipHasher13::new_with_keys(keys[0].0, keys[0].1),
            prf: Prf::new(keys[1]),
            pools,
            shares,
            records: Share::new(limits.mappings, limits.mappings - limits.mappings / 4),
            reserved: Reserved::new(own_ports.clone(), core::iter::empty()),
            own_ports,
            quarantines: per_pool(|_| Quarantine::new()),
            links: Links::new(places),
            quarantine_time,
            reused_early: 0,
        };
        mappings.reserve(core::iter::empty());
        mappings
    }

    /// Mappings that are used or in quarantine.
    pub const fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Free ports of a pool.
    pub fn free(&self, kind: PoolKind) -> usize {
        self.pools.get(kind.position()).map_or(0, Pool::free)
    }

    /// Gives `account` guaranteed parts, or takes them away.
    pub fn set_membership(&mut self, account: Account, member: Membership) {
        for share in &mut self.shares {
            share.set_membership(account, member);
        }
        self.records.set_membership(account, member);
    }

    /// Makes the choice of ports depend on `seed`, too.
    pub fn mix_seed(&mut self, seed: (u64, u64)) {
        self.prf.mix(seed);
    }

    /// Changes how many ports of one pool one client may hold. Whoever holds more keeps them: it is up to the caller to
    /// end the flows that use them.
    pub fn set_ports_per_client(&mut self, ports: u32) {
        for (share, kind) in self.shares.iter_mut().zip(PoolKind::ALL) {
            share.set_caps(cap(kind, ports));
        }
    }

    /// Keeps the `forwarded` ports (protocol, port) out of the pools from now on. Walks over all mappings and
    /// allocates: for changes of the rules, not for packets.
    pub fn reserve(&mut self, forwarded: impl Iterator<Item = (u8, u16)>) {
        self.reserved = Reserved::new(self.own_ports.clone(), forwarded);
        let mut held_back = Reserved::new(self.own_ports.clone(), core::iter::empty());
        for position in 0..self.slab.extent() {
            if let Some(mapping) = self.slab.id_at(position).and_then(|id| self.slab.get(id)) {
                held_back.of_mut(mapping.pool.protocol()).insert(mapping.outer_port);
            }
        }
        for kind in PoolKind::ALL {
            let reserved = self.reserved.of(kind.protocol());
            for port in kind.range().filter(|port| reserved.contains(*port)) {
                held_back.of_mut(kind.protocol()).insert(port);
            }
            if let Some(pool) = self.pools.get_mut(kind.position()) {
                pool.refill(held_back.of(kind.protocol()));
            }
        }
    }

    fn hash(&self, owner: Account, pool: PoolKind, inner_port: u16) -> u64 {
        let owner = (owner.position() as u16).to_le_bytes();
        let port = inner_port.to_le_bytes();
        self.hasher.hash(&[owner[0], owner[1], pool.position() as u8, port[0], port[1]])
    }

    /// What is wrong with the books: for tests and the simulation.
    pub fn fault(&self) -> Option<Fault> {
        let taken = |kind: PoolKind| self.iter().filter(|(_, mapping)| mapping.pool == kind).count();
        let of_pools = PoolKind::ALL.into_iter().zip(&self.shares);
        let mut faults = of_pools.map(|(kind, share)| share.fault(taken(kind)));
        faults.find_map(|fault| fault).or_else(|| self.records.fault(self.slab.len()))
    }

    /// Every mapping.
    pub fn iter(&self) -> impl Iterator<Item = (Id<Mapping>, &Mapping)> {
        let ids = (0..self.slab.extent()).filter_map(|position| self.slab.id_at(position));
        ids.filter_map(|id| Some((id, self.slab.get(id)?)))
    }

    /// Ports that somebody else could get before their quarantine was over, because mappings or ports were short.
    pub const fn reused_early(&self) -> u64 {
        self.reused_early
    }

    /// Mappings on `account`.
    pub fn held(&self, account: Account) -> u32 {
        self.records.held(account)
    }

    /// Books one more flow on the mapping of `inner_port` of `client`, made if there is none; returns it with
    /// its outer port.
    pub fn acquire(
        &mut self,
        client: ClientSlot,
        pool: PoolKind,
        inner_port: u16,
        now: Tick,
    ) -> Result<(Id<Mapping>, u16), Shortage> {
        let owner = Account::client(client);
        let hash = self.hash(owner, pool, inner_port);
        let found = self.index.find(hash, |id| {
            self.slab
                .get(id)
                .is_some_and(|it| it.owner == owner && it.pool == pool && it.inner_port == inner_port)
        });
        if let Some(id) = found {
            self.take_from_quarantine(id);
            if let Some(mapping) = self.slab.get_mut(id) {
                mapping.flows += 1;
                return Ok((id, mapping.outer_port));
            }
        }
        let outer_port = self.free_port(owner, pool, now)?;
        let mapping = Mapping { owner, pool, inner_port, outer_port, flows: 1, quarantined_until: Tick(0) };
        let Ok(id) = self.slab.insert(mapping) else {
            self.give_port(pool, outer_port);
            return Err(Shortage { reason: NoPort::ClientLimit, want: Want::Mapping, debtor: None });
        };
        self.index.insert(hash, id);
        self.records.take(owner);
        if let Some(share) = self.shares.get_mut(pool.position()) {
            share.take(owner);
        }
        Ok((id, outer_port))
    }

    /// A port of `pool` for `owner`, and a place for its mapping: free ones, else that of its own that has been in
    /// quarantine longest, else, if it holds less than its guaranteed part, that of somebody who holds too much.
    fn free_port(&mut self, owner: Account, pool: PoolKind, now: Tick) -> Result<u16, Shortage> {
        let reason = NoPort::ClientLimit;
        if self.slab.is_full() || !self.records.has_room(owner) {
            if let Some(port) = self.recycle(owner, pool) {
                return Ok(port);
            }
            let debtor = self.records.debtor_to(owner);
            let oldest = self.oldest_quarantined(owner).or_else(|| self.oldest_quarantined(debtor?));
            self.set_free(oldest.ok_or(Shortage { reason, want: Want::Mapping, debtor })?);
            self.reused_early += 1;
        }
        let want = Want::Port(pool);
        let Some(share) = self.shares.get(pool.position()) else {
            return Err(Shortage { reason, want, debtor: None });
        };
        if !share.has_room(owner) {
            return self.recycle(owner, pool).ok_or(Shortage { reason, want, debtor: None });
        }
        if self.free(pool) == 0 {
            self.free_one(pool, now);
        }
        let port = self.pools.get_mut(pool.position()).and_then(|free| free.take(&mut self.prf));
        if let Some(port) = port.or_else(|| self.recycle(owner, pool)) {
            return Ok(port);
        }
        // Asks every account: only when it must be.
        let debtor = self.shares.get(pool.position()).and_then(|share| share.debtor_to(owner));
        let port = debtor.and_then(|debtor| self.recycle(debtor, pool));
        self.reused_early += u64::from(port.is_some());
        port.ok_or(Shortage { reason: NoPort::PoolEmpty, want, debtor })
    }

    /// Takes the port of `pool` of `owner` that has been in quarantine longest, with its mapping.
    fn recycle(&mut self, owner: Account, pool: PoolKind) -> Option<u16> {
        loop {
            let longest = self.quarantines.get(pool.position())?.first_of(owner)?;
            let Mapping { outer_port, .. } = self.forget(longest)?;
            // One that is forwarded now is nobody's any more.
            if !self.reserved.of(pool.protocol()).contains(outer_port) {
                return Some(outer_port);
            }
        }
    }

    /// The mapping of `owner` that has been in quarantine longest, in any pool.
    fn oldest_quarantined(&self, owner: Account) -> Option<Id<Mapping>> {
        let first = self.quarantines.iter().filter_map(|quarantine| quarantine.first_of(owner));
        first.min_by_key(|id| self.slab.get(*id).map(|mapping| mapping.quarantined_until))
    }

    /// Whether `account` holds more ports of `pool` than it may, since that was lowered.
    pub fn is_over_cap(&self, account: Account, pool: PoolKind) -> bool {
        self.shares.get(pool.position()).is_some_and(|share| share.is_over_cap(account))
    }

    /// Frees the port of `pool` of `account` that has been in quarantine longest, before that is over.
    pub fn free_early(&mut self, account: Account, pool: PoolKind) -> Freed {
        let longest =
            self.quarantines.get(pool.position()).and_then(|quarantine| quarantine.first_of(account));
        let Some(longest) = longest else { return Freed::None };
        self.set_free(longest);
        self.reused_early += 1;
        Freed::One
    }

    fn give_port(&mut self, pool: PoolKind, port: u16) {
        if !self.reserved.of(pool.protocol()).contains(port)
            && let Some(pool) = self.pools.get_mut(pool.position())
        {
            pool.give(port);
        }
    }

    /// Books one flow less on `id`; without any the quarantine of the mapping begins `now`.
    pub fn release(&mut self, id: Id<Mapping>, now: Tick) {
        let quarantine_time = self.quarantine_time;
        let Some(mapping) = self.slab.get_mut(id).or_bug("a flow uses a mapping that is gone") else {
            return;
        };
        mapping.flows = mapping.flows.saturating_sub(1);
        if mapping.flows > 0 {
            return;
        }
        mapping.quarantined_until = now.after(quarantine_time);
        let (owner, pool, until) = (mapping.owner, mapping.pool, mapping.quarantined_until);
        self.quarantine(id, owner, pool, until);
    }

    /// Puts `id` into quarantine `until` a second that is not before any other's of `owner`.
    fn quarantine(&mut self, id: Id<Mapping>, owner: Account, pool: PoolKind, until: Tick) {
        let Some(quarantine) = self.quarantines.get_mut(pool.position()) else { return };
        let Some(list) = quarantine.list_mut(owner).or_bug("an account without a quarantine") else { return };
        let is_first = list.first().is_none();
        self.links.push(list, id);
        if is_first {
            quarantine.set_first(owner, Some(until));
        }
    }

    /// Takes `id` out of quarantine if it is there.
    fn take_from_quarantine(&mut self, id: Id<Mapping>) {
        let Some(mapping) = self.slab.get(id).filter(|mapping| mapping.flows == 0) else { return };
        let Some(quarantine) = self.quarantines.get_mut(mapping.pool.position()) else { return };
        let Some(list) = quarantine.list_mut(mapping.owner) else { return };
        let was_first = list.first() == Some(id);
        self.links.remove(list, id);
        if was_first {
            let next = list.first().and_then(|next| self.slab.get(next));
            quarantine.set_first(mapping.owner, next.map(|next| next.quarantined_until));
        }
    }

    /// Takes out `id`, which is in quarantine; its port is the caller's to give back.
    fn forget(&mut self, id: Id<Mapping>) -> Option<Mapping> {
        self.take_from_quarantine(id);
        let mapping = self.slab.remove(id)?;
        self.index.remove(self.hash(mapping.owner, mapping.pool, mapping.inner_port), id);
        self.records.give(mapping.owner);
        if let Some(share) = self.shares.get_mut(mapping.pool.position()) {
            share.give(mapping.owner);
        }
        Some(mapping)
    }

    /// Frees up to `budget` ports whose quarantine is over at `now`; returns how many it freed.
    pub fn free_released(&mut self, now: Tick, budget: usize) -> usize {
        let mut freed = 0;
        for pool in PoolKind::ALL {
            while freed < budget && self.free_one(pool, now) == Freed::One {
                freed += 1;
            }
        }
        freed
    }

    /// Frees the port of `pool` that has been in quarantine longest, if that is over.
    fn free_one(&mut self, pool: PoolKind, now: Tick) -> Freed {
        match self.quarantines.get(pool.position()).and_then(|quarantine| quarantine.released(now)) {
            Some(id) => {
                self.set_free(id);
                Freed::One
            }
            None => Freed::None,
        }
    }

    fn set_free(&mut self, id: Id<Mapping>) {
        if let Some(mapping) = self.forget(id) {
            self.give_port(mapping.pool, mapping.outer_port);
        }
    }

    /// The second in which a port in quarantine may be free again.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.quarantines.iter().filter_map(Quarantine::earliest).min().map(|until| until.after(Seconds(1)))
    }
}
