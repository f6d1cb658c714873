//! Hops that were asked for and have not answered.
//!
//! Every account asks for itself: whoever scans has only its own questions to lose, and a host that one account could not
//! ask for any more is asked for by the next. One question on the wire still does for all who want the same hop.

use super::bounded::Bounds;
use super::hops::{Hops, Place, Record};
use super::questions::Questions;
use super::waiting::{Line, PAGES};
use super::{ASK_EVERY, QUESTIONS};
use crate::flow::share::Account;
use crate::flow::slab::{Ends, Links};
use crate::time::Moment;
use core::net::Ipv4Addr;

/// Hops that may be silent: as many as there are pages for their packets.
pub const HOPS: Bounds = PAGES;

/// A hop that has not answered.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// When a question was last due.
    tried: Moment,
    /// How often one was.
    tries: u8,
    /// When one was last on the wire: its account may have had none left.
    pub asked: Option<Moment>,
}

/// Whether a question is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// One is.
    Now,
    /// Another was, or the account has none left.
    No,
}

/// What has come due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// A try for this hop.
    Try(Ipv4Addr, Ask),
    /// Whoever waits in this line waits in vain.
    GiveUp(Line),
}

/// All of them.
pub struct Silent {
    hops: Hops<Silence>,
    /// By when they were last tried.
    order: Ends<Record<Silence>>,
    links: Links<Record<Silence>>,
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

    /// Where to wait for `address`, and whether to ask for it. Who waits in a line that had to make room is told to
    /// `gave_way`: the account's oldest question, or that of the account with most of them.
    pub fn enter(
        &mut self,
        account: Account,
        address: Ipv4Addr,
        now: Moment,
        questions: &mut Questions,
        mut gave_way: impl FnMut(Line),
    ) -> Option<(Line, Ask)> {
        let hops = &self.hops;
        let known =
            hops.find(address, |place, _| hops.name(place).is_some_and(|(asker, _)| asker == account));
        if let Some(known) = known {
            return Some((line(known), Ask::No));
        }
        let (asked, ask) = self.question(account, address, None, now, questions);
        let silence = Silence { tried: now, tries: 1, asked };
        let (order, links) = (&mut self.order, &mut self.links);
        let place = self.hops.insert(account, address, silence, |gone| {
            links.remove(order, gone);
            gave_way(line(gone));
        })?;
        self.links.push(&mut self.order, place);
        Some((line(place), ask))
    }

    /// Whether a question is to be sent, and when the last one was then.
    fn question(
        &self,
        account: Account,
        address: Ipv4Addr,
        asked: Option<Moment>,
        now: Moment,
        questions: &mut Questions,
    ) -> (Option<Moment>, Ask) {
        let is_recent = |silence: &Silence| silence.asked.is_some_and(|asked| now < asked + ASK_EVERY);
        let recent = self.hops.find(address, |_, silence| is_recent(silence));
        match recent.and_then(|place| self.hops.get(place)) {
            Some(other) => (other.asked, Ask::No),
            None => match questions.take(account, now) {
                Ask::Now => (Some(now), Ask::Now),
                Ask::No => (asked, Ask::No),
            },
        }
    }

    /// Takes the next thing that is due.
    pub fn advance(&mut self, now: Moment, questions: &mut Questions) -> Option<Due> {
        let place = self.order.first()?;
        let silence = *self.hops.get(place)?;
        if now < silence.tried + ASK_EVERY {
            return None;
        }
        if silence.tries >= QUESTIONS {
            self.remove(place)?;
            return Some(Due::GiveUp(line(place)));
        }
        let (account, address) = self.hops.name(place)?;
        let (asked, ask) = self.question(account, address, silence.asked, now, questions);
        *self.hops.get_mut(place)? = Silence { tried: now, tries: silence.tries + 1, asked };
        self.links.remove(&mut self.order, place);
        self.links.push(&mut self.order, place);
        Some(Due::Try(address, ask))
    }

    /// When [`Self::advance`] has something.
    pub fn deadline(&self) -> Option<Moment> {
        let first = self.hops.get(self.order.first()?)?;
        Some(first.tried + ASK_EVERY)
    }

    /// Takes out one that is not silent any more: who asked, and where packets wait for it.
    pub fn found(&mut self, address: Ipv4Addr) -> Option<(Account, Line, Silence)> {
        let place = self.hops.find(address, |_, _| true)?;
        let (account, _) = self.hops.name(place)?;
        Some((account, line(place), self.remove(place)?))
    }

    /// Takes out any.
    pub fn pop(&mut self) -> Option<Line> {
        let place = self.hops.any()?;
        self.remove(place)?;
        Some(line(place))
    }

    fn remove(&mut self, place: Place<Silence>) -> Option<Silence> {
        self.links.remove(&mut self.order, place);
        self.hops.remove(place)
    }
}

/// Each has a line of its own.
fn line(place: Place<Silence>) -> Line {
    Line(place.position())
}
