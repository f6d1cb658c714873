//! Hops that were asked for and have not answered.
//!
//! Every account asks for itself: whoever scans has only its own questions to lose, and a host that one account could not
//! ask for any more is asked for by the next. One question on the wire still does for all who want the same hop.

use super::bounded::Bounds;
use super::hops::{HopId, Hops, Record};
use super::solicitation::{ASK_EVERY, QUESTIONS, Solicited};
use super::waiting::{LineId, PAGES};
use crate::base::time::Moment;
use crate::tables::share::Account;
use crate::tables::slab::{Ends, Links};
use core::net::Ipv4Addr;

/// Hops that may be silent: as many as there are pages for their packets.
pub const HOPS: Bounds = PAGES;

/// A hop that has not answered.
#[derive(Clone, Copy, Debug)]
pub struct SilentHop {
    /// When a question was last due.
    tried: Moment,
    /// How often one was.
    tries: u8,
    /// When one was last on the wire: it may not have been possible to send one.
    pub asked: Option<Moment>,
}

impl SilentHop {
    /// Of a hop for which a question is due for the first time.
    pub fn new(now: Moment) -> Self {
        Self { tried: now, tries: 1, asked: None }
    }

    /// Whether a question is on the wire that can still be answered in time.
    pub fn is_asked(&self, now: Moment) -> bool {
        self.asked.is_some_and(|asked| now < asked + ASK_EVERY)
    }

    /// Notes whether a question was sent.
    pub fn note(&mut self, asked: Solicited, now: Moment) {
        if asked == Solicited::Yes {
            self.asked = Some(now);
        }
    }

    /// When the next question is due, or the hop to be given up.
    pub fn due(&self) -> Moment {
        self.tried + ASK_EVERY
    }

    /// Begins another try, if there was not one too many already.
    pub fn try_again(&mut self, now: Moment) -> Tries {
        if self.tries >= QUESTIONS {
            return Tries::Over;
        }
        (self.tried, self.tries) = (now, self.tries + 1);
        Tries::Left
    }
}

/// Whether a hop is asked for once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// It is.
    Left,
    /// It is given up.
    Over,
}

/// What has come due.
pub enum SilentDue {
    /// A [question](Silent::ask) for this hop.
    Try(HopId<SilentHop>),
    /// Whoever waits in this line waits in vain.
    GiveUp(LineId),
}

/// All silent hops, of all accounts.
pub struct Silent {
    hops: Hops<SilentHop>,
    /// In the order in which they were last tried.
    order: Ends<Record<SilentHop>>,
    links: Links<Record<SilentHop>>,
}

impl Default for Silent {
    fn default() -> Self {
        Self { hops: Hops::new(HOPS), order: Ends::EMPTY, links: Links::new(HOPS.total as usize) }
    }
}

impl Silent {
    /// How many there are on `account`.
    pub fn held(&self, account: Account) -> u32 {
        self.hops.held(account)
    }

    /// The hop `address` on `account`, which is entered if it is not there: its packets wait in that hop's [`line`]. If
    /// another hop has to make room for it, the oldest of the account or of the account with most hops, the line of
    /// that hop goes to `gave_way`.
    pub fn enter(
        &mut self,
        account: Account,
        address: Ipv4Addr,
        now: Moment,
        mut gave_way: impl FnMut(LineId),
    ) -> Option<HopId<SilentHop>> {
        let hops = &self.hops;
        let known =
            hops.find(address, |place, _| hops.name(place).is_some_and(|(asker, _)| asker == account));
        if known.is_some() {
            return known;
        }
        let (order, links) = (&mut self.order, &mut self.links);
        let place = self.hops.insert(account, address, SilentHop::new(now), |gone| {
            links.remove(order, gone);
            gave_way(line(gone));
        })?;
        self.links.push(&mut self.order, place);
        Some(place)
    }

    /// Has `send` send a question for a hop, unless one is on the wire, whoever asked it.
    pub fn ask(
        &mut self,
        place: HopId<SilentHop>,
        now: Moment,
        send: impl FnOnce(Account, Ipv4Addr) -> Solicited,
    ) {
        let Some((account, address)) = self.hops.name(place) else { return };
        let other = self.hops.find(address, |_, silence| silence.is_asked(now));
        let other = other.and_then(|other| self.hops.get(other)).and_then(|silence| silence.asked);
        let Some(silence) = self.hops.get_mut(place) else { return };
        match other {
            Some(_) => silence.asked = other,
            None => silence.note(send(account, address), now),
        }
    }

    /// Takes the next thing that is due.
    pub fn advance(&mut self, now: Moment) -> Option<SilentDue> {
        let place = self.order.first()?;
        let silence = self.hops.get_mut(place)?;
        if now < silence.due() {
            return None;
        }
        if silence.try_again(now) == Tries::Over {
            self.remove(place)?;
            return Some(SilentDue::GiveUp(line(place)));
        }
        self.links.remove(&mut self.order, place);
        self.links.push(&mut self.order, place);
        Some(SilentDue::Try(place))
    }

    /// When [`Self::advance`] next has something.
    pub fn deadline(&self) -> Option<Moment> {
        Some(self.hops.get(self.order.first()?)?.due())
    }

    /// Takes out one of the entries of a hop that is not silent any more: who asked, the line in which packets wait,
    /// and what was noted of it.
    pub fn found(&mut self, address: Ipv4Addr) -> Option<(Account, LineId, SilentHop)> {
        let place = self.hops.find(address, |_, _| true)?;
        let (account, _) = self.hops.name(place)?;
        Some((account, line(place), self.remove(place)?))
    }

    /// Takes out any.
    pub fn pop(&mut self) -> Option<LineId> {
        let place = self.hops.any()?;
        self.remove(place)?;
        Some(line(place))
    }

    fn remove(&mut self, place: HopId<SilentHop>) -> Option<SilentHop> {
        self.links.remove(&mut self.order, place);
        self.hops.remove(place)
    }
}

/// Where packets wait for a hop: each has a line of its own.
pub fn line(place: HopId<SilentHop>) -> LineId {
    LineId(place.position())
}
