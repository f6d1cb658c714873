//! What is known of one name, and when it is asked for next.
//!
//! An address counts for as long as its server says, and at least [`LINGER`] after it was last heard of: names that stand
//! for many addresses are answered with others each time, and clients go on with those that they were told. Names are
//! asked for again before that is over, each at a random moment, so that not all are at once.

use super::message::MAX_ADDRESSES;
use crate::base::host_name::HostName;
use crate::base::time::Moment;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// An address counts for so long at least after it was last heard of.
pub const LINGER: Duration = Duration::from_secs(600);

/// Least time between two questions for a name that is known: what is said to change faster is asked for as often as this.
pub const SHORTEST: Duration = Duration::from_secs(60);

/// Most time between two questions, and for which an address counts after it was last heard of.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// Least time between two tellings of what a name stands for: whoever owns it decides how often that changes.
const TELLING_PAUSE: Duration = Duration::from_secs(300);

/// How long after a question that failed the next one waits, which doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// How long it waits at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A name of which nothing was said for so long is worth a word: of two servers each was asked twice meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);

/// Number of the source that a name is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameSource(pub u32);

/// Whether a name is being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// It is.
    Now,
    /// It is to be from this moment on.
    From(Moment),
}

/// Whether anything was said of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastWord {
    /// Not since this moment, in which it was first to be asked for.
    Nothing(Moment),
    /// No, and whoever waits for it knows.
    NothingAndTold,
    /// It was, and be it that it stands for nothing.
    Answer,
}

/// A name, and what it stands for.
#[derive(Debug)]
pub(super) struct KnownName {
    pub(super) host: HostName,
    pub(super) source: NameSource,
    /// Addresses, and until when each counts.
    addresses: Vec<(Ipv4Addr, Moment)>,
    pub(super) asking: Asking,
    /// Questions that failed since one was answered. One, when it is tried again because another name was answered.
    pub(super) failures: u8,
    /// Whether it stands for other addresses than whoever uses it was told.
    pub(super) is_changed: bool,
    last_word: LastWord,
    /// Whether it stands for other addresses than people were told.
    is_untold: bool,
    /// When they may be told next.
    tell_from: Moment,
}

/// A moment after `now`: after three to four quarters of `span`, by the chance `random`.
fn within(now: Moment, span: Duration, random: u64) -> Moment {
    let quarter = span / 4;
    now + quarter * 3 + quarter * u32::from(random as u16) / (1 << 16)
}

impl KnownName {
    /// A name of which nothing is known: it is to be asked for at once.
    pub(super) fn new(host: HostName, source: NameSource, now: Moment) -> Self {
        let asking = Asking::From(now);
        let last_word = LastWord::Nothing(now);
        let (addresses, failures) = (Vec::new(), 0);
        let (is_changed, is_untold, tell_from) = (false, false, now);
        Self { host, source, addresses, asking, failures, is_changed, last_word, is_untold, tell_from }
    }

    /// The addresses that count.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.addresses.iter().map(|(address, _)| *address)
    }

    /// A server answered at `now` that it stands for `addresses`, if for any, and that for so long. Of more than are kept those
    /// go that were not heard of for longest. Any answer is news the first time.
    pub(super) fn answered(&mut self, addresses: &[Ipv4Addr], ttl: Duration, random: u64, now: Moment) {
        let until = now + ttl.clamp(LINGER, LONGEST);
        for &address in addresses {
            let known = self.addresses.iter_mut().find(|(known, _)| *known == address);
            match known {
                Some((_, end)) => *end = until.max(*end),
                None => {
                    self.addresses.push((address, until));
                    self.is_changed = true;
                }
            }
        }
        while self.addresses.len() > MAX_ADDRESSES {
            let ends = self.addresses.iter().enumerate().map(|(place, (_, end))| (*end, place));
            if let Some((_, oldest)) = ends.min() {
                self.addresses.remove(oldest);
            }
        }
        self.is_changed |= self.last_word != LastWord::Answer;
        self.last_word = LastWord::Answer;
        self.failures = 0;
        self.asking = Asking::From(within(now, ttl.clamp(SHORTEST, LONGEST), random));
    }

    /// Nobody answered.
    pub(super) fn failed(&mut self, random: u64, now: Moment) {
        let pause = FIRST_PAUSE * (1 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        self.asking = Asking::From(within(now, pause.min(LONGEST_PAUSE), random));
    }

    /// Whether it failed again and again; after a single failure it is asked for soon anyway.
    pub(super) const fn keeps_failing(&self) -> bool {
        self.failures > 1
    }

    /// It failed, and may be answered now: it is to be asked for within `span`. It counts as having failed once: if it is being
    /// asked for already and that fails, it waits little, and names that never failed go before it.
    pub(super) fn try_again(&mut self, span: Duration, random: u64, now: Moment) {
        self.failures = 1;
        self.ask_soon(span, random, now);
    }

    /// It is to be asked for within `span`, unless it is being asked for.
    pub(super) fn ask_soon(&mut self, span: Duration, random: u64, now: Moment) {
        let soon = now + span * u32::from(random as u16) / (1 << 16);
        if let Asking::From(due) = &mut self.asking {
            *due = soon.min(*due);
        }
    }

    /// Takes away what counts no more at `now`.
    pub(super) fn expire(&mut self, now: Moment) {
        let before = self.addresses.len();
        self.addresses.retain(|(_, until)| *until > now);
        self.is_changed |= self.addresses.len() < before;
    }

    /// When the next address counts no more.
    pub(super) fn next_expiry(&self) -> Option<Moment> {
        self.addresses.iter().map(|(_, until)| *until).min()
    }

    /// What it stands for is in effect.
    pub(super) const fn note_in_effect(&mut self) {
        (self.is_changed, self.is_untold) = (false, true);
    }

    /// People are told of it anew, as there are others.
    pub(super) fn tell_again(&mut self, now: Moment) {
        self.is_untold |= self.last_word == LastWord::Answer;
        self.tell_from = now;
    }

    /// When people are to be told what it stands for.
    pub(super) fn to_tell(&self) -> Option<Moment> {
        self.is_untold.then_some(self.tell_from)
    }

    /// They are told at `now`.
    pub(super) fn note_people_told(&mut self, now: Moment) {
        (self.is_untold, self.tell_from) = (false, now + TELLING_PAUSE);
    }

    /// When somebody is to be told that nothing was said of it.
    pub(super) fn overdue(&self) -> Option<Moment> {
        match self.last_word {
            LastWord::Nothing(since) => Some(since + PATIENCE),
            LastWord::NothingAndTold | LastWord::Answer => None,
        }
    }

    /// It was told that nothing was said of it.
    pub(super) const fn note_told(&mut self) {
        self.last_word = LastWord::NothingAndTold;
    }

    /// Since when it is to be asked for, if it is at `now`.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        match self.asking {
            Asking::From(due) if due <= now => Some(due),
            _ => None,
        }
    }
}
