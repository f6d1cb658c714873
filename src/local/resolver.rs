//! Asks for the names that rules have, ahead of whoever uses them, and keeps what they stand for.
//!
//! A question leaves from a port of its own, any with the same likelihood, under a number that nobody can foresee. An
//! answer counts that comes from the server that was asked, to that port, with that number and about that name; a
//! port to which others came is given up, so that whoever tries out numbers has to find the next one (RFC 5452). An
//! alias is followed, over so many names at most. Each question goes to one server after the other, twice to each, and waits
//! longer every time. A name that failed is asked for again after a pause, which grows to half a minute. That the network is
//! there again, nobody says: it shows when a name is answered that failed before, and then all that failed are asked for
//! soon. Names that are answered all along say nothing about the others, and one that always fails nothing about the network.
//!
//! All is bounded: names, addresses of each, questions at a time. A place for a question goes to the source that has fewest, and a
//! source leaves as many places free as it has, so that names that nobody answers for keep nobody else's waiting.

pub use super::known_name::NameSource;
use super::known_name::{Asking, KnownName};
use super::message::{self, NameAnswer, QueryBytes};
use super::question::{Question, Sent};
use crate::base::bug::{OrBug, bug};
use crate::base::host_name::HostName;
use crate::base::tick::Seconds;
use crate::base::time::Moment;
use crate::tables::prf::Prf;
use crate::wire::udp;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

/// Servers that are asked at most.
const MAX_SERVERS: usize = 4;

/// Questions at a time.
pub const MAX_QUESTIONS: usize = 16;

/// Aliases from one answer to the next.
const MAX_ALIASES: u8 = 8;

/// How often each server is asked before a question has failed.
const ROUNDS: usize = 2;

/// How long the first answer is waited for; every other one half as long again as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(1500);

/// How long one is waited for at most.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Messages to a question's port that are no answer, after which it is asked from another one.
const MAX_WRONG: u8 = 16;

/// For how long it is believed that a name has no address, where the server does not say.
const NOTHING: Seconds = Seconds(60);

/// For how long that is believed at most: servers say it, too, while they cannot reach others, or before a user has logged in to
/// a network.
const LONGEST_NOTHING: Seconds = Seconds(300);

/// Within this time names are asked for, some sooner and some later, when other servers are asked or the same ones answer
/// again.
const SOON: Duration = Duration::from_secs(5);

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameQuery {
    /// Our port.
    pub port: u16,
    /// To whom.
    pub to: SocketAddrV4,
    /// What it says.
    pub message: QueryBytes,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// It was an answer.
    Taken,
    /// It was none to what was asked.
    Refused,
}

/// Asks for names.
pub struct Resolver {
    servers: ArrayVec<Ipv4Addr, MAX_SERVERS>,
    /// By name, none twice.
    names: Vec<KnownName>,
    questions: ArrayVec<Question, MAX_QUESTIONS>,
    /// Ports of ours that are not used any more. Every question has one more at most before they are fetched.
    closed_ports: ArrayVec<u16, { 2 * MAX_QUESTIONS }>,
    random: Prf,
    /// When there is something to do for a name; earlier than that there is nothing.
    names_due: Moment,
}

impl Resolver {
    /// Without names and servers. The `key` must be random.
    pub fn new(key: (u64, u64)) -> Self {
        Self {
            servers: ArrayVec::new(),
            names: Vec::new(),
            questions: ArrayVec::new(),
            closed_ports: ArrayVec::new(),
            random: Prf::new(key),
            names_due: Moment::END,
        }
    }

    /// Asks these servers from now on, the first of them first. If they are others than before, what is being asked is
    /// asked again, and what is known soon.
    pub fn set_servers(&mut self, servers: &[Ipv4Addr], now: Moment) {
        let servers = servers.iter().copied().take(MAX_SERVERS).collect();
        if self.servers == servers {
            return;
        }
        self.servers = servers;
        while !self.questions.is_empty() {
            if let Some(name) = self.end(0) {
                name.asking = Asking::From(now);
            }
        }
        for name in &mut self.names {
            name.failures = 0;
            name.ask_soon(SOON, self.random.bits(), now);
        }
        self.names_due = now;
    }

    /// Asks for these names from now on, which are in order and none there twice. What is known of others is forgotten. People
    /// are told of all of them again, since others may have them.
    pub fn set_names(&mut self, names: impl Iterator<Item = (HostName, NameSource)>, now: Moment) {
        let mut before = core::mem::take(&mut self.names).into_iter().peekable();
        for (host, source) in names {
            while before.next_if(|known| known.host < host).is_some() {}
            let known = before.next_if(|known| known.host == host);
            let mut known = known.unwrap_or_else(|| KnownName::new(host, source, now));
            known.source = source;
            known.tell_again(now);
            self.names.push(known);
        }
        if !self.names.is_sorted_by(|a, b| a.host < b.host) {
            bug("names that are not in order");
            self.names.clear();
        }
        for place in (0..self.questions.len()).rev() {
            let host = self.questions.get(place).map(|question| &question.host);
            let source = host.and_then(|host| Some(self.names.get(self.place_of(host)?)?.source));
            match (source, self.questions.get_mut(place)) {
                (Some(source), Some(question)) => question.source = source,
                _ => {
                    self.end(place);
                }
            }
        }
        self.names_due = now;
    }

    /// The next name that stands for other addresses than are in effect, and those. There is more to do after each.
    pub fn next_update(&mut self) -> Option<(HostName, impl Iterator<Item = Ipv4Addr> + '_)> {
        let name = self.names.iter_mut().find(|name| name.is_changed)?;
        name.note_in_effect();
        self.names_due = Moment::default();
        Some((name.host.clone(), name.addresses()))
    }

    /// The next name that people are to be told of at `now`: what it stands for, or its rules, are others, and they were not
    /// told of it just before.
    pub fn next_untold(&mut self, now: Moment) -> Option<HostName> {
        let is_due = |name: &&mut KnownName| name.to_tell().is_some_and(|due| due <= now);
        let name = self.names.iter_mut().find(is_due)?;
        name.note_people_told(now);
        Some(name.host.clone())
    }

    /// A name that is `awaited` and of which nobody has said anything in some time: each once, until somebody does.
    pub fn next_overdue(&mut self, now: Moment, awaited: impl Fn(&HostName) -> bool) -> Option<HostName> {
        let is_overdue = |name: &KnownName| name.overdue().is_some_and(|overdue| overdue <= now);
        let name = self.names.iter_mut().find(|name| is_overdue(name) && awaited(&name.host))?;
        name.note_told();
        Some(name.host.clone())
    }

    /// A port that is ours no longer.
    pub fn next_closed_port(&mut self) -> Option<u16> {
        self.closed_ports.pop()
    }

    /// When there is something to do. What an answer says is fetched at once: its question's port is closed with it.
    pub fn deadline(&self) -> Option<Moment> {
        if !self.closed_ports.is_empty() {
            return Some(Moment::default());
        }
        let waits =
            self.questions.iter().map(|question| question.sent.map_or(Moment::default(), |it| it.until));
        let next = waits.chain([self.names_due]).min();
        next.filter(|next| *next != Moment::END)
    }

    /// Does what is due at `now`: addresses count no more, questions have failed.
    pub fn advance(&mut self, now: Moment) {
        for place in (0..self.questions.len()).rev() {
            let sent = self.questions.get(place).and_then(|question| question.sent);
            if sent.is_some_and(|sent| sent.until <= now) {
                self.ask_again(place, now);
            }
        }
        if self.names_due <= now {
            self.names.iter_mut().for_each(|name| name.expire(now));
            self.begin_questions(now);
            self.plan(now);
        }
    }

    /// The next question to be sent at `now`. `open_port` makes a port ours, if there is one.
    pub fn next_query(&mut self, now: Moment, open_port: impl FnOnce() -> Option<u16>) -> Option<NameQuery> {
        let place = self.questions.iter().position(|question| question.sent.is_none())?;
        let question = self.questions.get_mut(place)?;
        let attempts = usize::from(question.attempts);
        let server = *self.servers.get(attempts.checked_rem(self.servers.len())?)?;
        let Some(port) = open_port() else {
            self.fail(place, now);
            return None;
        };
        let id = self.random.bits() as u16;
        let mut wait = FIRST_WAIT;
        (0..attempts).for_each(|_| wait = LONGEST_WAIT.min(wait * 3 / 2));
        question.sent = Some(Sent { server, port, id, until: now + wait, wrong: 0 });
        question.attempts = question.attempts.saturating_add(1);
        let message = message::query(id, &question.asked);
        Some(NameQuery { port, to: SocketAddrV4::new(server, udp::DNS), message })
    }

    /// Takes a message that came from `from` to `port` of ours.
    pub fn take(&mut self, now: Moment, from: SocketAddrV4, port: u16, message: &[u8]) -> Reception {
        let of_port = |question: &Question| {
            let sent = question.sent.filter(|sent| sent.port == port)?;
            (SocketAddrV4::new(sent.server, udp::DNS) == from).then_some(sent.id)
        };
        let found = self.questions.iter().enumerate().find_map(|(place, it)| Some((place, of_port(it)?)));
        let Some((place, id)) = found else { return Reception::Refused };
        let Some(question) = self.questions.get_mut(place) else { return Reception::Refused };
        let Ok(answer) = message::answer(message, id, &question.asked) else {
            let wrong = question.sent.as_mut().map_or(0, |sent| {
                sent.wrong += 1;
                sent.wrong
            });
            if wrong >= MAX_WRONG {
                self.ask_again(place, now);
            }
            return Reception::Refused;
        };
        let ttl = |question: &Question, ttl: Seconds| Duration::from_secs(ttl.0.min(question.ttl).into());
        match answer {
            NameAnswer::Failure => self.ask_again(place, now),
            NameAnswer::Alias(target, Seconds(seconds)) if question.aliases < MAX_ALIASES => {
                close(&mut self.closed_ports, question.sent.take());
                let (aliases, ttl) = (question.aliases + 1, question.ttl.min(seconds));
                (question.asked, question.aliases, question.ttl, question.attempts) =
                    (target, aliases, ttl, 0);
            }
            NameAnswer::Alias(..) => self.fail(place, now),
            NameAnswer::Addresses(addresses, seconds) => {
                let ttl = ttl(question, seconds);
                self.answered(place, ttl, &addresses, now);
            }
            NameAnswer::Nothing(seconds) => {
                let ttl = ttl(question, seconds.unwrap_or(NOTHING).min(LONGEST_NOTHING));
                self.answered(place, ttl, &[], now);
            }
        }
        self.plan(now);
        Reception::Taken
    }

    /// A server said what a name stands for. If the name failed before, all those that failed are asked for soon.
    fn answered(&mut self, place: usize, ttl: Duration, addresses: &[Ipv4Addr], now: Moment) {
        let random = self.random.bits();
        let Some(name) = self.end(place) else { return };
        let failed_before = name.keeps_failing();
        name.answered(addresses, ttl, random, now);
        if failed_before {
            let failed = self.names.iter_mut().filter(|name| name.keeps_failing());
            failed.for_each(|name| name.try_again(SOON, self.random.bits(), now));
        }
    }

    #[inline(never)]
    fn place_of(&self, host: &HostName) -> Option<usize> {
        self.names.binary_search_by(|known| known.host.cmp(host)).ok()
    }

    /// Begins questions for what is due, as many as there may be: of the sources that have fewest first, of these what has
    /// failed least often and then what waits longest.
    fn begin_questions(&mut self, now: Moment) {
        while !self.servers.is_empty() {
            let due = self.names.iter_mut().filter_map(|name| Some((name.due(now)?, name)));
            let may_be =
                due.filter_map(|(due, name)| Some((held_by(name.source, &self.questions)?, due, name)));
            let first = may_be.min_by_key(|(held, due, name)| (*held, name.failures, *due));
            let Some((.., name)) = first else { return };
            name.asking = Asking::Now;
            let question = Question::new(name.host.clone(), name.host.clone(), name.source);
            self.questions.push(question);
        }
    }

    /// Notes when there is something to do for a name. While no more questions of its source may begin, none is waited for.
    #[inline(never)]
    fn plan(&mut self, now: Moment) {
        let may_ask = |source| !self.servers.is_empty() && held_by(source, &self.questions).is_some();
        let due = |name: &KnownName| match name.asking {
            Asking::From(due) if may_ask(name.source) => Some(due.max(now)),
            _ => None,
        };
        let overdue = |name: &KnownName| name.overdue().filter(|overdue| *overdue > now);
        let next =
            |name| due(name).into_iter().chain(name.next_expiry()).chain(overdue(name)).chain(name.to_tell());
        let names = self.names.iter().flat_map(next);
        self.names_due = names.min().unwrap_or(Moment::END);
    }

    /// A server did not answer: asks the next one, if one is left.
    fn ask_again(&mut self, place: usize, now: Moment) {
        let most = self.servers.len() * ROUNDS;
        match self.questions.get_mut(place) {
            Some(question) if usize::from(question.attempts) < most => {
                close(&mut self.closed_ports, question.sent.take());
            }
            _ => self.fail(place, now),
        }
    }

    /// A question has failed.
    #[inline(never)]
    fn fail(&mut self, place: usize, now: Moment) {
        let random = self.random.bits();
        if let Some(name) = self.end(place) {
            name.failed(random, now);
        }
        self.plan(now);
    }

    /// Ends a question; its name, if it is still one.
    #[inline(never)]
    fn end(&mut self, place: usize) -> Option<&mut KnownName> {
        let question = (place < self.questions.len()).then(|| self.questions.swap_remove(place))?;
        close(&mut self.closed_ports, question.sent);
        let place = self.place_of(&question.host)?;
        self.names.get_mut(place)
    }
}

/// How many questions a source has, if it may have another one: never more than there are places free.
fn held_by(source: NameSource, questions: &ArrayVec<Question, MAX_QUESTIONS>) -> Option<usize> {
    let held = questions.iter().filter(|question| question.source == source).count();
    (held < questions.remaining_capacity()).then_some(held)
}

/// Gives up the port that a question was asked from.
fn close(closed_ports: &mut ArrayVec<u16, { 2 * MAX_QUESTIONS }>, sent: Option<Sent>) {
    if let Some(sent) = sent {
        closed_ports.try_push(sent.port).or_bug("ports that are closed are not fetched").ok();
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
