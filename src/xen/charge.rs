//! On whose account each page of the pool is.
//!
//! Every page that is not free is charged to one account from the moment it is taken, whatever holds it, and the
//! pool discharges it when it comes back: so a bound on an account is a bound on everything that waits anywhere on
//! it. A client has two, what it sent and what waits for it, so that who is slow to receive can go on sending.
//!
//! An account may always take up to its guaranteed part. The firewall's own accounts (its packets, the uplink's rings
//! and buffers, what a backend does not let go) get nothing beyond that. Half of what is left is guaranteed in equal
//! parts to the clients that are connected. The other half is for whoever comes first, as long as what is guaranteed
//! and not taken yet stays free; what clients sent may take up to three quarters of it, and so may what waits for them.

use super::DomainId;
use crate::base::bug::bug;
use alloc::boxed::Box;
use alloc::vec;

/// On whose account a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge(u16);

impl Charge {
    /// On nobody's account: may take all that is not guaranteed to anybody. For measurements; packets are always on
    /// somebody's.
    pub const NOBODY: Charge = Charge(0);
    /// What the firewall itself says on the uplink: ARP, ICMP errors, RSTs; and bounce buffers.
    pub const OWN: Charge = Charge(1);
    /// The uplink's rings and buffers, and what came in them until it waits for a client.
    pub const UPLINK: Charge = Charge(2);
    /// What the uplink's backend answered and still uses.
    pub const KEPT: Charge = Charge(3);
    /// The first client's.
    const CLIENTS: u16 = 4;
}

/// The two accounts of a connected client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCharges(u16);

impl ClientCharges {
    /// What it sent, wherever that is.
    pub const fn sent(self) -> Charge {
        Charge(Charge::CLIENTS + 2 * self.0)
    }

    /// What waits for it to post buffers.
    pub const fn waiting(self) -> Charge {
        Charge(Charge::CLIENTS + 2 * self.0 + 1)
    }
}

/// Clients that may have accounts: those that are connected, and those that left pages behind that are still in use.
const CLIENTS: usize = 256;

/// Pages for the firewall's own packets, if the pool is not tiny. Packets that wait for next hops fit into them and leave
/// some: else nobody could be asked where those hops are.
pub const OWN_PAGES: u32 = 64;

/// Both rings of the uplink, a ring full of buffers, and what small packets to it lie in.
const RING_PAGES: u32 = 2 + 256 + 8;

/// Pages of bounce buffers.
pub const BOUNCE_PAGES: u32 = 16;

/// One page in so many may be kept by the uplink's backend.
const KEPT_SHARE: u32 = 8;

/// What accounts of one kind have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Group {
    /// Guaranteed in equal parts to its members.
    guaranteed: u32,
    /// For whoever comes first, beyond what is guaranteed.
    common: u32,
    /// How much of `common` is taken.
    used: u32,
}

/// Which group an account is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AccountKind {
    #[default]
    Nobody,
    Own,
    Sent,
    Waiting,
}

/// One account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PageAccount {
    held: u32,
    guaranteed: u32,
    kind: AccountKind,
}

impl PageAccount {
    fn unclaimed(self) -> u32 {
        self.guaranteed.saturating_sub(self.held)
    }

    fn beyond(self) -> u32 {
        self.held.saturating_sub(self.guaranteed)
    }
}

/// Whether a page may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Booking {
    Taken,
    Refused,
}

/// Whether a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientPresence {
    Connected,
    Gone,
}

/// All accounts.
#[derive(Debug)]
pub struct Accounts {
    lines: Box<[PageAccount]>,
    groups: [Group; 4],
    /// Whose the clients' accounts are, or were.
    clients: Box<[Option<(DomainId, ClientPresence)>]>,
    /// Guaranteed and not taken, of all accounts.
    unclaimed: u32,
}

impl Accounts {
    /// Accounts for a pool of so many pages.
    pub fn new(pages: usize) -> Self {
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        let (own, kept) = ((OWN_PAGES + BOUNCE_PAGES).min(pages / 4), pages / KEPT_SHARE);
        // Beside rings and buffers: fragments that wait, and what goes back and waits for its next hop.
        let uplink = (RING_PAGES + pages / 16 + OWN_PAGES).min(pages / 3);
        let clients = (pages - own - kept - uplink) / 2;
        // Of the common part of both ways together, one way may use three quarters.
        let common = (clients - clients / 2) * 3 / 2;
        let half = Group { guaranteed: clients / 2, common, used: 0 };
        let unlimited = Group { common: u32::MAX, ..Group::default() };
        let mut lines =
            vec![PageAccount::default(); usize::from(Charge::CLIENTS) + 2 * CLIENTS].into_boxed_slice();
        for (line, guaranteed) in lines.iter_mut().zip([0, own, uplink, kept]) {
            line.guaranteed = guaranteed;
            line.kind = if guaranteed > 0 { AccountKind::Own } else { AccountKind::Nobody };
        }
        for pair in lines.get_mut(usize::from(Charge::CLIENTS)..).unwrap_or_default().chunks_exact_mut(2) {
            for (line, kind) in pair.iter_mut().zip([AccountKind::Sent, AccountKind::Waiting]) {
                line.kind = kind;
            }
        }
        let mut accounts = Self {
            lines,
            groups: [unlimited, Group::default(), half, half],
            clients: vec![None; CLIENTS].into_boxed_slice(),
            unclaimed: 0,
        };
        accounts.share_out();
        accounts
    }

    /// Books one more page on `charge`, of a pool of which `free` pages are free. Says whether it may be taken.
    #[inline]
    pub(super) fn take(&mut self, charge: Charge, free: usize) -> Booking {
        let Some(line) = self.lines.get_mut(usize::from(charge.0)) else { return Booking::Refused };
        if line.held < line.guaranteed {
            self.unclaimed -= 1;
        } else {
            let group = &mut self.groups[line.kind as usize];
            if group.used >= group.common || free <= self.unclaimed as usize {
                return Booking::Refused;
            }
            group.used += 1;
        }
        line.held += 1;
        Booking::Taken
    }

    /// Books one page less on `charge`.
    #[inline]
    pub(super) fn give(&mut self, charge: Charge) {
        let line = self.lines.get_mut(usize::from(charge.0)).filter(|line| line.held > 0);
        let Some(line) = line else {
            // Pages begin as nobody's.
            if charge != Charge::NOBODY {
                bug("an account gives a page that it does not hold");
            }
            return;
        };
        let held = line.held - 1;
        line.held = held;
        if held < line.guaranteed {
            self.unclaimed += 1;
        } else {
            self.groups[line.kind as usize].used -= 1;
        }
    }

    /// Moves so many pages from one account to another, whether that may take them or not: they are there already.
    #[inline]
    pub(super) fn transfer(&mut self, from: Charge, to: Charge, pages: u32) {
        if let Some(line) = self.lines.get_mut(usize::from(from.0)) {
            let before = *line;
            line.held = before.held.checked_sub(pages).unwrap_or_else(|| overdrawn(from));
            if before.held <= before.guaranteed {
                self.unclaimed += before.held - line.held;
            } else {
                self.unclaimed += line.unclaimed();
                self.groups[line.kind as usize].used -= before.beyond() - line.beyond();
            }
        }
        if let Some(line) = self.lines.get_mut(usize::from(to.0)) {
            let before = *line;
            line.held += pages;
            if line.held <= line.guaranteed {
                self.unclaimed -= pages;
            } else {
                self.unclaimed -= before.unclaimed();
                self.groups[line.kind as usize].used += line.beyond() - before.beyond();
            }
        }
    }

    /// Whether so many pages may be taken on `charge` now, of a pool of which `free` are free.
    #[inline]
    pub(super) fn has_room(&self, charge: Charge, pages: usize, free: usize) -> bool {
        match self.lines.get(usize::from(charge.0)) {
            // The usual case: all of them are guaranteed to it.
            Some(line) if line.unclaimed() as usize >= pages => free >= pages,
            _ => self.room(charge, free) >= pages,
        }
    }

    /// Pages that may be taken on `charge` now, of a pool of which `free` are free.
    #[inline]
    pub(super) fn room(&self, charge: Charge, free: usize) -> usize {
        let Some(line) = self.lines.get(usize::from(charge.0)) else { return 0 };
        let group = &self.groups[line.kind as usize];
        let common = group.common.saturating_sub(group.used) as usize;
        let guaranteed = line.unclaimed() as usize;
        (guaranteed + common.min(free.saturating_sub(self.unclaimed as usize))).min(free)
    }

    /// Pages on `charge`.
    pub(super) fn held(&self, charge: Charge) -> u32 {
        self.lines.get(usize::from(charge.0)).map_or(0, |line| line.held)
    }

    /// The part that is guaranteed to `charge`.
    pub(super) fn guaranteed(&self, charge: Charge) -> u32 {
        self.lines.get(usize::from(charge.0)).map_or(0, |line| line.guaranteed)
    }

    /// Gives a client that connects its accounts: those that it left behind, if there are such. `None` when all are in
    /// use.
    pub(super) fn open(&mut self, domain: DomainId) -> Option<ClientCharges> {
        let left =
            |client: &Option<(DomainId, ClientPresence)>| *client == Some((domain, ClientPresence::Gone));
        let index = self.clients.iter().position(left).or_else(|| {
            (0..self.clients.len()).find(|&index| {
                let charges = ClientCharges(index as u16);
                let gone = !matches!(self.clients.get(index), Some(Some((_, ClientPresence::Connected))));
                gone && self.held(charges.sent()) + self.held(charges.waiting()) == 0
            })
        })?;
        *self.clients.get_mut(index)? = Some((domain, ClientPresence::Connected));
        self.share_out();
        Some(ClientCharges(index as u16))
    }

    /// Takes the guaranteed part of a client that disconnects. What it still holds stays on its accounts.
    pub(super) fn close(&mut self, client: ClientCharges) {
        if let Some(Some((_, presence))) = self.clients.get_mut(usize::from(client.0)) {
            *presence = ClientPresence::Gone;
        }
        self.share_out();
    }

    /// Gives every client that is connected its part.
    fn share_out(&mut self) {
        let is_connected = |client: &Option<(DomainId, ClientPresence)>| {
            matches!(client, Some((_, ClientPresence::Connected)))
        };
        let connected = self.clients.iter().filter(|client| is_connected(client)).count().max(1) as u32;
        let lines = self.lines.get_mut(usize::from(Charge::CLIENTS)..).unwrap_or_default();
        for (client, pair) in self.clients.iter().zip(lines.chunks_exact_mut(2)) {
            for line in pair {
                let part = self.groups[line.kind as usize].guaranteed / connected;
                line.guaranteed = if is_connected(client) { part } else { 0 };
            }
        }
        for group in &mut self.groups {
            group.used = 0;
        }
        for line in &self.lines {
            self.groups[line.kind as usize].used += line.beyond();
        }
        self.unclaimed = self.lines.iter().map(|line| line.unclaimed()).sum();
    }

    /// How many pages are guaranteed and not free, of a pool of which `free` are free: while there are any, nobody may
    /// take beyond its part. There are some when a client has just connected, and when the uplink's backend has kept
    /// more than it may.
    pub fn missing(&self, free: usize) -> usize {
        (self.unclaimed as usize).saturating_sub(free)
    }

    /// Checks the books. Returns how many pages are charged to all accounts together.
    ///
    /// # Errors
    /// What is booked wrong.
    pub fn audit(&self) -> Result<u32, &'static str> {
        let sum = |of: fn(PageAccount) -> u32| self.lines.iter().map(|&line| of(line)).sum::<u32>();
        if sum(PageAccount::unclaimed) != self.unclaimed {
            return Err("what is guaranteed and not taken is booked wrong");
        }
        for kind in [AccountKind::Nobody, AccountKind::Own, AccountKind::Sent, AccountKind::Waiting] {
            let lines = self.lines.iter().filter(|line| line.kind == kind);
            if lines.map(|line| line.beyond()).sum::<u32>() != self.groups[kind as usize].used {
                return Err("what is taken beyond guaranteed parts is booked wrong");
            }
        }
        Ok(sum(|line| line.held))
    }
}

/// What is booked on an account that gives more pages than it has: none.
#[cold]
fn overdrawn(account: Charge) -> u32 {
    // Pages begin as nobody's.
    if account != Charge::NOBODY {
        bug("an account gives pages that it does not hold");
    }
    0
}
