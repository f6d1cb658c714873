//! How much of something limited each client may hold.
//!
//! Half of what there is is guaranteed in equal parts to those that are attached; the other half goes to
//! whoever comes first, up to a cap per holder. So one client that takes all it can get never keeps another
//! from its part (conformance P-4, P-5, P-7).
//!
//! What a client leaves behind stays on its account, which then has no guaranteed part. Parts change as clients come
//! and go, so what was within them may be beyond them later: a member below its part is owed, and [`Share::debtor`]
//! says who has to give (conformance S-1).

use alloc::boxed::Box;
use alloc::vec;

use crate::base::bug::OrBug;
use crate::base::side::ClientSlot;

/// On whose account something is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account(u16);

impl Account {
    /// Number of accounts: a table per account has this length.
    pub const COUNT: usize = 257;

    /// What hosts on the uplink opened to forwarded ports or sent, and what the firewall itself has to say there.
    pub const UPLINK: Account = Account(256);

    /// The client of that number, which is that of its account and not its slot (see [`crate::engine::clients`]).
    pub const fn client(number: ClientSlot) -> Account {
        Account(number.0 as u16)
    }

    /// The number of the client whose it is, if it is a client's.
    pub fn owner(self) -> Option<ClientSlot> {
        u8::try_from(self.0).ok().map(ClientSlot)
    }

    /// Every account.
    pub fn all() -> impl Iterator<Item = Account> {
        (0..Account::COUNT as u16).map(Account)
    }

    /// Where the account is in a table of [`Account::COUNT`].
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

/// What one account holds.
#[derive(Clone, Copy, Default)]
struct Holding {
    count: u32,
    cap: u32,
    /// What it held when the caps were last changed, which may be more than its cap. It sinks as the account gives, but
    /// leaves room for one that takes the place of the last one given.
    kept: u32,
    member: Membership,
}

/// Whether a part is guaranteed to an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// Nothing is guaranteed.
    #[default]
    Guest,
    /// It has a guaranteed part.
    Member,
}

/// What is wrong with the books of a [`Share`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This account holds more than it may.
    OverCap(Account),
    /// What the accounts hold is not what is in use.
    Sum {
        /// By all accounts.
        held: u64,
        /// In use.
        taken: usize,
    },
    /// What is held beyond guaranteed parts is not what is booked.
    Common {
        /// Summed up now.
        counted: u32,
        /// As booked.
        booked: u32,
    },
    /// More than half is guaranteed.
    Guarantees,
}

/// The accounts of one limited thing.
pub struct Share {
    holdings: Box<[Holding]>,
    capacity: u32,
    members: u32,
    floor: u32,
    /// Held beyond guaranteed parts, by all together.
    common: u32,
}

impl Share {
    /// Accounts for `capacity` things, of which one account may hold `cap`.
    pub fn new(capacity: u32, cap: u32) -> Share {
        let holdings = vec![Holding { cap, ..Holding::default() }; Account::COUNT].into_boxed_slice();
        Share { holdings, capacity, members: 0, floor: 0, common: 0 }
    }

    /// Gives `account` a cap of its own.
    pub fn set_cap(&mut self, account: Account, cap: u32) {
        if let Some(holding) = self.holdings.get_mut(account.position()) {
            holding.cap = cap;
        }
    }

    /// Changes the cap of every account. Who holds more keeps it, and has less with each that it gives.
    pub fn set_caps(&mut self, cap: u32) {
        for holding in &mut self.holdings {
            holding.cap = cap;
            holding.kept = holding.count;
        }
    }

    fn holding(&self, account: Account) -> Holding {
        self.holdings.get(account.position()).copied().unwrap_or_default()
    }

    const fn guaranteed(&self, holding: Holding) -> u32 {
        match holding.member {
            Membership::Member => self.floor,
            Membership::Guest => 0,
        }
    }

    /// What `account` holds.
    pub fn held(&self, account: Account) -> u32 {
        self.holding(account).count
    }

    /// Whether `account` may take one more.
    pub fn has_room(&self, account: Account) -> bool {
        let holding = self.holding(account);
        let guaranteed = self.guaranteed(holding);
        holding.count < holding.cap
            && (holding.count < guaranteed
                || self.common < self.capacity.saturating_sub(self.floor * self.members))
    }

    /// Whether one more would be more than the cap of `account`. If it still is when one has just been given to make
    /// room, the cap was lowered.
    pub fn is_at_cap(&self, account: Account) -> bool {
        let holding = self.holding(account);
        holding.count >= holding.cap
    }

    /// Whether `account` holds more than it may, since its cap was lowered.
    pub fn is_over_cap(&self, account: Account) -> bool {
        let holding = self.holding(account);
        holding.count > holding.cap
    }

    /// Whether one more would be more than half of all there is, and more than `account` is guaranteed.
    pub fn is_crowded(&self, account: Account, held_by_all: u32) -> bool {
        let holding = self.holding(account);
        held_by_all >= self.capacity / 2 && holding.count >= self.guaranteed(holding)
    }

    /// Whether `account` holds less than it is guaranteed: there is room for it, and if there is none to be had,
    /// [`Share::debtor_to`] has to give.
    fn is_owed(&self, account: Account) -> bool {
        let holding = self.holding(account);
        holding.count < self.guaranteed(holding).min(holding.cap)
    }

    /// Who gives to `account`, if it is owed. Asks every account.
    #[cold]
    pub fn debtor_to(&self, account: Account) -> Option<Account> {
        if self.is_owed(account) { self.debtor() } else { None }
    }

    /// Who gives when somebody is owed: of those who are guaranteed nothing who holds most, and if they hold nothing,
    /// the member that is furthest beyond its part.
    fn debtor(&self) -> Option<Account> {
        let excess = |account: &Account| {
            let holding = self.holding(*account);
            (holding.member == Membership::Guest, holding.count.saturating_sub(self.guaranteed(holding)))
        };
        let over = Account::all().filter(|account| excess(account).1 > 0);
        // Of equals the first.
        over.reduce(|most, next| if excess(&next) > excess(&most) { next } else { most })
    }

    /// What is wrong with the books, given that `taken` things are in use: for tests and the simulation.
    pub fn fault(&self, taken: usize) -> Option<Fault> {
        let held: u64 = self.holdings.iter().map(|holding| u64::from(holding.count)).sum();
        let beyond = |holding: &Holding| holding.count.saturating_sub(self.guaranteed(*holding));
        let common: u32 = self.holdings.iter().map(beyond).sum();
        let over = Account::all().find(|account| {
            let holding = self.holding(*account);
            holding.count > holding.cap.max(holding.kept)
        });
        match over {
            Some(account) => Some(Fault::OverCap(account)),
            None if held != taken as u64 => Some(Fault::Sum { held, taken }),
            None if common != self.common => Some(Fault::Common { counted: common, booked: self.common }),
            None if self.floor * self.members > self.capacity / 2 => Some(Fault::Guarantees),
            None => None,
        }
    }

    /// Books one more on `account`, room or not.
    pub fn take(&mut self, account: Account) {
        let guaranteed = self.guaranteed(self.holding(account));
        if let Some(holding) = self.holdings.get_mut(account.position()).or_bug("an account without books") {
            if holding.count >= guaranteed {
                self.common += 1;
            }
            holding.count += 1;
        }
    }

    /// Books one less on `account`.
    pub fn give(&mut self, account: Account) {
        let guaranteed = self.guaranteed(self.holding(account));
        let holding = self.holdings.get_mut(account.position()).filter(|holding| holding.count > 0);
        if let Some(holding) = holding.or_bug("an account gives what it does not hold") {
            if holding.count > guaranteed {
                self.common = self.common.saturating_sub(1);
            }
            holding.count -= 1;
            holding.kept = holding.kept.min(holding.count + 1);
        }
    }

    /// Gives `account` a guaranteed part, or takes it away; everybody's part changes.
    #[inline(never)]
    pub fn set_membership(&mut self, account: Account, member: Membership) {
        if let Some(holding) = self.holdings.get_mut(account.position()) {
            holding.member = member;
        }
        self.members = self.holdings.iter().filter(|h| h.member == Membership::Member).count() as u32;
        self.floor = self.capacity / 2 / self.members.max(1);
        self.common = self.holdings.iter().map(|h| h.count.saturating_sub(self.guaranteed(*h))).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Account = Account::client(ClientSlot(1));
    const TWO: Account = Account::client(ClientSlot(2));

    fn fill(share: &mut Share, account: Account) -> u32 {
        while share.has_room(account) {
            share.take(account);
        }
        share.held(account)
    }

    #[test]
    fn a_cap_that_is_lowered_leaves_what_is_held_and_allows_nothing_more() {
        let mut share = Share::new(100, 75);
        share.set_membership(ONE, Membership::Member);
        assert_eq!(fill(&mut share, ONE), 75);
        share.set_caps(10);
        assert_eq!((share.held(ONE), share.has_room(ONE), share.fault(75)), (75, false, None));
        assert!(share.is_over_cap(ONE));
        share.give(ONE);
        share.give(ONE);
        share.take(ONE);
        assert_eq!((share.held(ONE), share.fault(74)), (74, None));
        // What is given does not come back.
        share.take(ONE);
        assert_eq!(share.fault(75), Some(Fault::OverCap(ONE)));
        (0..66).for_each(|_| share.give(ONE));
        assert_eq!(fill(&mut share, ONE), 10);
        assert!(share.is_at_cap(ONE) && !share.is_over_cap(ONE));
        share.set_caps(20);
        assert_eq!(fill(&mut share, ONE), 20);
        share.take(ONE);
        assert_eq!(share.fault(21), Some(Fault::OverCap(ONE)));
    }

    #[test]
    fn a_greedy_member_leaves_the_others_their_part() {
        let mut share = Share::new(100, 100);
        share.set_membership(ONE, Membership::Member);
        share.set_membership(TWO, Membership::Member);
        assert_eq!(fill(&mut share, ONE), 75);
        assert_eq!(fill(&mut share, TWO), 25);
        share.give(ONE);
        assert_eq!(fill(&mut share, TWO), 26);
    }

    #[test]
    fn nobody_holds_more_than_the_cap() {
        let mut share = Share::new(100, 10);
        share.set_membership(ONE, Membership::Member);
        assert_eq!(fill(&mut share, ONE), 10);
    }

    #[test]
    fn guests_take_only_from_the_common_half() {
        let mut share = Share::new(100, 100);
        share.set_membership(ONE, Membership::Member);
        assert_eq!(fill(&mut share, TWO), 50);
        assert_eq!(fill(&mut share, ONE), 50);
    }

    #[test]
    fn who_is_gone_owes_before_any_member_and_then_who_is_furthest_beyond_its_part() {
        let three = Account::client(ClientSlot(3));
        let mut share = Share::new(100, 75);
        share.set_membership(ONE, Membership::Member);
        assert_eq!(fill(&mut share, ONE), 75);
        assert!(!share.is_owed(ONE));
        share.set_membership(TWO, Membership::Member);
        share.set_membership(three, Membership::Member);
        assert!(share.is_owed(TWO) && share.is_owed(three));
        assert_eq!(share.debtor(), Some(ONE));
        share.take(TWO);
        share.set_membership(TWO, Membership::Guest);
        assert!(!share.is_owed(TWO));
        assert_eq!(share.debtor(), Some(TWO));
        share.give(TWO);
        assert_eq!(share.debtor(), Some(ONE));
        assert_eq!(share.fault(75), None);
        assert_eq!(share.fault(76), Some(Fault::Sum { held: 75, taken: 76 }));
    }

    #[test]
    fn the_books_balance_after_members_come_and_go() {
        let mut share = Share::new(100, 100);
        share.set_membership(ONE, Membership::Member);
        fill(&mut share, ONE);
        share.set_membership(TWO, Membership::Member);
        for _ in 0..share.held(ONE) {
            share.give(ONE);
        }
        assert_eq!((share.common, share.held(ONE)), (0, 0));
    }

    #[test]
    #[should_panic(expected = "bug: an account gives what it does not hold")]
    fn who_holds_nothing_gives_nothing() {
        Share::new(100, 100).give(ONE);
    }
}
