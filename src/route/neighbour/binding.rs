//! What a hop said its Ethernet address is, and how long that is believed.

use super::solicitation::{ASK_EVERY, QUESTIONS};
use crate::base::time::Moment;
use crate::wire::ethernet::Mac;
use core::time::Duration;

/// How long an answer is believed. After that the hop is asked for again, and the answer is used meanwhile.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// Least time between two changes that nobody asked for, and between an answer and a second, different one. Without it
/// two hosts that claim one address, or one that forges, would change it with every packet. Linux has the same second
/// (`locktime`).
const LOCK_TIME: Duration = Duration::from_secs(1);

/// How an ARP packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOrigin {
    /// A reply to us alone: it is an answer if a question is open.
    Reply,
    /// A request, an announcement, a reply to everybody.
    Unasked,
}

/// An Ethernet address that a hop was heard from.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    mac: Mac,
    /// When the hop last answered. `None` if it has not since the address last changed unasked, or was assumed.
    confirmed: Option<Moment>,
    /// When the address last changed unasked.
    changed: Option<Moment>,
    /// When the question that is open was asked.
    asked: Option<Moment>,
    /// Questions since the last answer.
    questions: u8,
}

impl Binding {
    /// What is first heard of a hop; `asked` is when it was last asked for, if it was.
    pub fn heard(mac: Mac, claim: ArpOrigin, asked: Option<Moment>, now: Moment) -> Self {
        let mut first = Self::assumed(mac, asked);
        first.hear(mac, claim, now);
        first
    }

    /// An address that is assumed without having been heard.
    pub fn assumed(mac: Mac, asked: Option<Moment>) -> Self {
        Self { mac, confirmed: None, changed: None, asked, questions: 0 }
    }

    /// Where to send.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Takes in that the hop is at `mac`. The answer to an open question is believed; what nobody asked for is used
    /// and asked about, and does not count as an answer (as in Linux, where it asserts no reachability).
    pub fn hear(&mut self, mac: Mac, claim: ArpOrigin, now: Moment) {
        if claim == ArpOrigin::Reply && self.asked.is_some() {
            *self = Self { mac, confirmed: Some(now), asked: None, questions: 0, ..*self };
        } else if mac != self.mac && !self.is_locked(claim, now) {
            *self = Self { mac, confirmed: None, changed: Some(now), questions: 0, ..*self };
        }
    }

    /// Whether it is too early to believe a change that nobody asked for. Where two hosts with one address both answer,
    /// the first answer to each question counts. An announcement may follow an answer at once: it says that something
    /// has changed.
    fn is_locked(&self, claim: ArpOrigin, now: Moment) -> bool {
        let is_recent = |since: Option<Moment>| since.is_some_and(|since| now < since + LOCK_TIME);
        is_recent(self.changed) || claim == ArpOrigin::Reply && is_recent(self.confirmed)
    }

    /// Until when there is nothing to ask.
    pub fn quiet_until(&self) -> Moment {
        let fresh = self.confirmed.map(|confirmed| confirmed + FRESH_FOR);
        let asked = self.asked.map(|asked| asked + ASK_EVERY);
        fresh.max(asked).unwrap_or_default()
    }

    /// Notes that it was asked for again.
    pub fn ask(&mut self, now: Moment) {
        self.asked = Some(now);
        self.questions = self.questions.saturating_add(1);
    }

    /// Whether as many questions as a hop is asked went unanswered.
    pub fn gave_up(&self, now: Moment) -> bool {
        self.questions >= QUESTIONS && now >= self.quiet_until()
    }
}
