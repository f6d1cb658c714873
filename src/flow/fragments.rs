//! Fragments: what is known of datagrams that arrive in pieces.
//!
//! The first fragment of a datagram is judged like a whole packet and leaves at once; the others follow it the
//! same way. Those that arrive before it wait, so nothing waits as long as pieces arrive in order. Every piece
//! is checked against all before it: once two contradict each other nothing more of the datagram leaves, and
//! its receiver can never complete it. Of every byte only what came first leaves: a fragment that lies wholly within
//! what arrived is a duplicate and goes no further, whatever it says (conformance X-7). Datagrams, waiting packets and
//! the memory they take up are bounded per account; when an account is at its bound its own oldest datagram is given up
//! (conformance, S-2).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use siphasher::sip::SipHasher13;

use super::coverage::{Coverage, CoverageError};
use super::passed::Passed;
use crate::base::drop_reason::DropReason;
use crate::base::tick::{Seconds, Tick};
use crate::nat::translation::Translation;
use crate::tables::index::Index;
use crate::tables::share::{Account, Membership, Share};
use crate::tables::slab::{Ends, Id, Links, Slab};
use crate::wire::ipv4::{Ipv4, Part, protocol};
use crate::wire::packet::Packet;

/// How many fragments may wait for the rest of their datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Incomplete datagrams in all. Half of them are guaranteed in equal parts, so there should be two for every client
    /// that there can be.
    pub datagrams: u16,
    /// Incomplete datagrams of one client.
    pub datagrams_per_client: u16,
    /// Packets held in all.
    pub packets: u16,
    /// Packets held for one client.
    pub packets_per_client: u16,
    /// Bytes of memory held for one client.
    pub bytes_per_client: usize,
    /// Bytes of memory held for all that comes from the uplink.
    pub bytes_from_uplink: usize,
}

/// What names a datagram (RFC 791 section 3.2), and from whom it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FragmentKey {
    account: Account,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ident: u16,
    protocol: u8,
}

/// What happens to a datagram's fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReassemblyState {
    /// Its first fragment has not come.
    Waiting,
    /// They go this way.
    Passing(Translation),
    /// They are dropped.
    Blocked,
    /// Its sender or receiver is gone: it is given up at the next occasion.
    Cancelled,
}

/// A datagram in pieces.
pub struct FragmentQueue<D> {
    key: FragmentKey,
    state: ReassemblyState,
    coverage: Coverage,
    /// The last second it may be incomplete in.
    deadline: Tick,
    queue: Ends<QueuedFragment<D>>,
}

/// A fragment that waits.
pub struct QueuedFragment<D> {
    packet: D,
    ip: Ipv4,
}

/// What is to be done with a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum FragmentAction<D> {
    /// Judge it like a whole packet and tell the outcome with [`Fragments::set_verdict`].
    Judge(Id<FragmentQueue<D>>),
    /// Send it this way, then call [`Fragments::forget_if_complete`].
    Follow(Id<FragmentQueue<D>>, Translation),
    /// Give it to [`Fragments::queue`].
    Wait(Id<FragmentQueue<D>>),
    /// Drop it for this reason.
    Refuse(DropReason),
}

/// All datagrams that are arriving in pieces.
pub struct Fragments<D> {
    datagrams: Slab<FragmentQueue<D>>,
    passed: Passed,
    index: Index<FragmentQueue<D>>,
    hasher: SipHasher13,
    /// Datagrams by age, per account.
    ages: Box<[Ends<FragmentQueue<D>>]>,
    age_links: Links<FragmentQueue<D>>,
    share: Share,
    packets: Slab<QueuedFragment<D>>,
    packet_links: Links<QueuedFragment<D>>,
    packet_share: Share,
    /// Bytes of memory held, per account.
    bytes: Box<[usize]>,
    bytes_per_client: usize,
    bytes_from_uplink: usize,
    timeout: Seconds,
    /// Nothing times out before the second after this one.
    earliest: Option<Tick>,
}

/// Where packets go that are given up.
pub type Reject<'a, D> = &'a mut dyn FnMut(D, DropReason);

impl<D: Packet> Fragments<D> {
    /// No fragments yet; `key` seeds the hash.
    pub fn new(limits: &FragmentLimits, timeout: Seconds, key: (u64, u64)) -> Fragments<D> {
        let datagrams = usize::from(limits.datagrams);
        let packets = usize::from(limits.packets);
        let mut share = Share::new(limits.datagrams.into(), limits.datagrams_per_client.into());
        let mut packet_share = Share::new(limits.packets.into(), limits.packets_per_client.into());
        // One account serves all that comes from the uplink, for all clients.
        share.set_cap(Account::UPLINK, limits.datagrams.into());
        packet_share.set_cap(Account::UPLINK, limits.packets.into());
        share.set_membership(Account::UPLINK, Membership::Member);
        packet_share.set_membership(Account::UPLINK, Membership::Member);
        let mut ages = Vec::new();
        ages.resize_with(Account::COUNT, || Ends::EMPTY);
        Fragments {
            datagrams: Slab::new(datagrams),
            passed: Passed::default(),
            index: Index::new(datagrams),
            hasher: SipHasher13::new_with_keys(key.0, key.1),
            ages: ages.into_boxed_slice(),
            age_links: Links::new(datagrams),
            share,
            packets: Slab::new(packets),
            packet_links: Links::new(packets),
            packet_share,
            bytes: vec![0; Account::COUNT].into_boxed_slice(),
            bytes_per_client: limits.bytes_per_client,
            bytes_from_uplink: limits.bytes_from_uplink,
            timeout,
            earliest: None,
        }
    }

    /// Gives `account` a guaranteed part, or takes it away.
    pub fn set_membership(&mut self, account: Account, member: Membership) {
        self.share.set_membership(account, member);
        self.packet_share.set_membership(account, member);
    }

    /// Datagrams in pieces.
    pub const fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Fragments that wait.
    pub const fn waiting(&self) -> usize {
        self.packets.len()
    }

    /// Bytes of memory that what waits on `account` takes up.
    pub fn waiting_bytes(&self, account: Account) -> usize {
        self.bytes.get(account.position()).copied().unwrap_or(0)
    }

    fn hash(&self, key: &FragmentKey) -> u64 {
        let account = (key.account.position() as u16).to_le_bytes();
        let [a, b, c, d] = key.source.octets();
        let [e, f, g, h] = key.destination.octets();
        let [i, j] = key.ident.to_le_bytes();
        self.hasher.hash(&[account[0], account[1], a, b, c, d, e, f, g, h, i, j, key.protocol])
    }

    /// Notes the fragment `ip` from `account` and says what is to be done with it.
    pub fn arrive(
        &mut self,
        account: Account,
        ip: &Ipv4,
        now: Tick,
        reject: Reject<'_, D>,
    ) -> FragmentAction<D> {
        let key = FragmentKey {
            account,
            source: ip.source,
            destination: ip.destination,
            ident: ip.ident,
            protocol: ip.protocol,
        };
        let hash = self.hash(&key);
        let found = self.index.find(hash, |id| self.datagrams.get(id).is_some_and(|it| it.key == key));
        let live = found.filter(|id| self.datagrams.get(*id).is_some_and(|it| !it.deadline.is_over(now)));
        if let (Some(id), None) = (found, live) {
            self.give_up(id, DropReason::FragmentTimeout, reject);
        }
        if live.is_none() && ip.part != Part::First && self.passed.knows(hash, now) {
            return FragmentAction::Refuse(DropReason::FragmentDuplicate);
        }
        let Some(id) = live.or_else(|| self.begin(key, hash, now, reject)) else {
            return FragmentAction::Refuse(DropReason::FragmentLimit);
        };
        let Some(pieces) = self.datagrams.get_mut(id) else {
            return FragmentAction::Refuse(DropReason::FragmentLimit);
        };
        if matches!(pieces.state, ReassemblyState::Blocked | ReassemblyState::Cancelled) {
            return FragmentAction::Refuse(DropReason::FragmentRefused);
        }
        let conflict = match hides_header(ip) {
            true => Some(DropReason::FragmentTiny),
            false => pieces.coverage.add(ip).err().map(|conflict| match conflict {
                CoverageError::Duplicate => DropReason::FragmentDuplicate,
                CoverageError::Overlap => DropReason::FragmentOverlap,
                CoverageError::TooScattered => DropReason::FragmentLimit,
            }),
        };
        if conflict == Some(DropReason::FragmentDuplicate) {
            return FragmentAction::Refuse(DropReason::FragmentDuplicate);
        }
        if let Some(why) = conflict {
            pieces.state = ReassemblyState::Blocked;
            self.drop_queued(id, why, reject);
            return FragmentAction::Refuse(why);
        }
        match (pieces.state, ip.part) {
            (ReassemblyState::Passing(translation), _) => FragmentAction::Follow(id, translation),
            (_, Part::First) => FragmentAction::Judge(id),
            _ => FragmentAction::Wait(id),
        }
    }

    /// Begins a datagram; its account's oldest is given up for it if need be.
    fn begin(
        &mut self,
        key: FragmentKey,
        hash: u64,
        now: Tick,
        reject: Reject<'_, D>,
    ) -> Option<Id<FragmentQueue<D>>> {
        if self.datagrams.is_full() || !self.share.has_room(key.account) {
            let oldest = self.ages.get(key.account.position())?.first()?;
            self.give_up(oldest, DropReason::FragmentLimit, reject);
        }
        let deadline = now.after(self.timeout);
        let pieces = FragmentQueue {
            key,
            state: ReassemblyState::Waiting,
            coverage: Coverage::default(),
            deadline,
            queue: Ends::EMPTY,
        };
        let id = self.datagrams.insert(pieces).ok()?;
        self.index.insert(hash, id);
        self.share.take(key.account);
        if let Some(ages) = self.ages.get_mut(key.account.position()) {
            self.age_links.push(ages, id);
        }
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        Some(id)
    }

    /// Keeps `packet` until the first fragment comes.
    pub fn queue(&mut self, id: Id<FragmentQueue<D>>, packet: D, ip: Ipv4, reject: Reject<'_, D>) {
        let Some(account) = self.datagrams.get(id).map(|pieces| pieces.key.account) else {
            return reject(packet, DropReason::FragmentLimit);
        };
        let held_bytes = packet.memory_bytes();
        while !self.has_room_for(account, held_bytes) {
            let oldest = self.ages.get(account.position()).and_then(Ends::first);
            match oldest.filter(|oldest| *oldest != id) {
                Some(oldest) => self.give_up(oldest, DropReason::FragmentLimit, reject),
                None => {
                    self.block(id, reject);
                    return reject(packet, DropReason::FragmentLimit);
                }
            }
        }
        match self.packets.insert(QueuedFragment { packet, ip }) {
            Ok(held) => {
                self.packet_share.take(account);
                if let Some(bytes) = self.bytes.get_mut(account.position()) {
                    *bytes += held_bytes;
                }
                if let Some(pieces) = self.datagrams.get_mut(id) {
                    self.packet_links.push(&mut pieces.queue, held);
                }
            }
            Err(QueuedFragment { packet, .. }) => {
                self.block(id, reject);
                reject(packet, DropReason::FragmentLimit);
            }
        }
    }

    fn has_room_for(&self, account: Account, held_bytes: usize) -> bool {
        let limit = if account == Account::UPLINK { self.bytes_from_uplink } else { self.bytes_per_client };
        !self.packets.is_full()
            && self.packet_share.has_room(account)
            && self.waiting_bytes(account) + held_bytes <= limit
    }

    /// Drops what comes of the datagram from now on.
    fn block(&mut self, id: Id<FragmentQueue<D>>, reject: Reject<'_, D>) {
        if let Some(pieces) = self.datagrams.get_mut(id) {
            pieces.state = ReassemblyState::Blocked;
        }
        self.drop_queued(id, DropReason::FragmentRefused, reject);
    }

    /// Says what became of the first fragment: the way it went, or `None` when it was dropped.
    pub fn set_verdict(
        &mut self,
        id: Id<FragmentQueue<D>>,
        outcome: Option<Translation>,
        reject: Reject<'_, D>,
    ) {
        match (outcome, self.datagrams.get_mut(id)) {
            (Some(translation), Some(pieces)) => pieces.state = ReassemblyState::Passing(translation),
            _ => self.block(id, reject),
        }
    }

    /// The next fragment that waited and may now follow the first.
    pub fn release(&mut self, id: Id<FragmentQueue<D>>) -> Option<(D, Ipv4)> {
        let pieces = self.datagrams.get_mut(id)?;
        let first = pieces.queue.first()?;
        self.packet_links.remove(&mut pieces.queue, first);
        let account = pieces.key.account;
        let QueuedFragment { packet, ip } = self.packets.remove(first)?;
        self.packet_share.give(account);
        if let Some(bytes) = self.bytes.get_mut(account.position()) {
            *bytes = bytes.saturating_sub(packet.memory_bytes());
        }
        Some((packet, ip))
    }

    /// Forgets the datagram if all of it has passed, but for duplicates that come late.
    pub fn forget_if_complete(&mut self, id: Id<FragmentQueue<D>>, now: Tick) {
        let done = |pieces: &FragmentQueue<D>| {
            matches!(pieces.state, ReassemblyState::Passing(_))
                && pieces.queue.first().is_none()
                && pieces.coverage.is_complete()
        };
        if self.datagrams.get(id).is_some_and(done)
            && let Some(key) = self.forget(id)
        {
            self.passed.note(key, now);
        }
    }

    fn drop_queued(&mut self, id: Id<FragmentQueue<D>>, why: DropReason, reject: Reject<'_, D>) {
        while let Some((packet, _)) = self.release(id) {
            reject(packet, why);
        }
    }

    fn give_up(&mut self, id: Id<FragmentQueue<D>>, why: DropReason, reject: Reject<'_, D>) {
        self.drop_queued(id, why, reject);
        self.forget(id);
    }

    /// Returns the hash of its key.
    fn forget(&mut self, id: Id<FragmentQueue<D>>) -> Option<u64> {
        let FragmentQueue { key, .. } = self.datagrams.remove(id)?;
        let hash = self.hash(&key);
        self.index.remove(hash, id);
        self.share.give(key.account);
        if let Some(ages) = self.ages.get_mut(key.account.position()) {
            self.age_links.remove(ages, id);
        }
        Some(hash)
    }

    /// Gives up what has been incomplete for too long.
    pub fn expire(&mut self, now: Tick, reject: Reject<'_, D>) {
        if !self.earliest.is_some_and(|earliest| earliest.is_over(now)) {
            return;
        }
        let mut earliest: Option<Tick> = None;
        for position in 0..self.datagrams.extent() {
            let Some(id) = self.datagrams.id_at(position) else { continue };
            let Some(pieces) = self.datagrams.get(id) else { continue };
            let deadline = pieces.deadline;
            match (pieces.state, deadline.is_over(now)) {
                (ReassemblyState::Cancelled, _) => self.give_up(id, DropReason::Detached, reject),
                (_, true) => self.give_up(id, DropReason::FragmentTimeout, reject),
                (_, false) => earliest = Some(earliest.map_or(deadline, |tick| tick.min(deadline))),
            }
        }
        self.earliest = earliest;
    }

    /// Condemns datagrams by the account they come from and the way they go: nothing of them passes any more,
    /// and what waits is given up with the next [`Fragments::expire`], which is due at once.
    pub fn cancel(&mut self, is_one: impl Fn(Account, Option<&Translation>) -> bool) {
        for position in 0..self.datagrams.extent() {
            let Some(pieces) = self.datagrams.id_at(position).and_then(|id| self.datagrams.get_mut(id))
            else {
                continue;
            };
            let translation = match &pieces.state {
                ReassemblyState::Passing(translation) => Some(translation),
                ReassemblyState::Waiting | ReassemblyState::Blocked | ReassemblyState::Cancelled => None,
            };
            if is_one(pieces.key.account, translation) {
                pieces.state = ReassemblyState::Cancelled;
                pieces.deadline = Tick(0);
                self.earliest = Some(Tick(0));
            }
        }
    }

    /// The second in which [`Fragments::expire`] may have something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.earliest.map(|tick| tick.after(Seconds(1)))
    }
}

/// Whether a later fragment begins where the layer-4 header belongs (RFC 1858 section 3.2, RFC 3128).
const fn hides_header(ip: &Ipv4) -> bool {
    let header_bytes = match ip.protocol {
        protocol::TCP => 20,
        protocol::UDP | protocol::ICMP => 8,
        _ => 0,
    };
    match ip.part {
        Part::Whole | Part::First => false,
        Part::Middle { offset_bytes } | Part::Last { offset_bytes } => offset_bytes < header_bytes,
    }
}
