//! The engine without its packets: judges one header at a time and says where the packet goes.
//!
//! [`Journey`](super::Journey) owns packets; this owns everything else. The stages are in the files beside
//! it: `outbound` and `inbound` find a packet's flow, `open` makes a new one, `pass` takes a packet along
//! its flow, `errors` translates ICMP errors.

use core::net::Ipv4Addr;

use siphasher::sip::SipHasher13;

use super::clients::Clients;
use super::settings::Settings;
use crate::client::{ClientSlot, Side};
use crate::counters::{Counters, Drop};
use crate::flow::allowance::{Allowance, Taken};
use crate::flow::fragments::Fragments;
use crate::flow::record::{Flow, Generation, Route};
use crate::flow::share::{Account, Membership};
use crate::flow::slab::Id;
use crate::flow::table::{Due, FlowTable};
use crate::flow::tick::{Seconds, Tick};
use crate::guard::{Answer, Question, RuleTable};
use crate::nat::ident::Idents;
use crate::nat::mapping::{MappingLimits, Mappings};
use crate::packet::Offload;
use crate::route::report::{self, Report};
use crate::time::{Moment, UnixSeconds};
use crate::wire::icmp;
use crate::wire::ipv4::{self, Ipv4, Options, protocol};
use crate::wire::tcp::Tcp;

/// A packet as the engine sees it: header bytes that may be changed, and what is known about it.
pub struct Parcel<'a> {
    /// The packet from its first byte; at least all of it or 576 bytes.
    pub header: &'a mut [u8],
    /// What its IP header says.
    pub ip: Ipv4,
    /// What its sender left to do.
    pub offload: Offload,
}

/// Hops left after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// One less than it came with.
    Next,
    /// It begins here.
    First,
}

/// Where a packet goes and under which addresses: holds for every fragment of its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The side it leaves by.
    pub to: Side,
    /// Its new source.
    pub source: Ipv4Addr,
    /// Its new destination.
    pub destination: Ipv4Addr,
    /// Its new identification.
    pub ident: u16,
    /// Its hops.
    pub hop: Hop,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was rewritten and leaves.
    Forward(Passage),
    /// It is dropped. An answer may be waiting in [`Engine::take_answer`].
    Discard(Drop),
}

/// How long a flow may outlive the rule that let it begin when that rule expires: each flow's first packet
/// after this time is judged again.
const REVIEW: Seconds = Seconds(30);

/// An answer waiting to be sent.
#[derive(Clone, Copy, Debug)]
struct Answering {
    to: Side,
    bytes: usize,
}

/// The tables and the rules.
pub struct Engine {
    pub(super) settings: Settings,
    pub(super) rules: RuleTable,
    pub(super) clients: Clients,
    pub(super) flows: FlowTable,
    pub(super) mappings: Mappings,
    pub(super) idents: Idents,
    pub(super) generation: Generation,
    pub(super) counters: Counters,
    uplink_errors: Allowance,
    /// The wall clock at some moment, to carry on from.
    wall: (Moment, UnixSeconds),
    answer: [u8; report::MAX_BYTES],
    answering: Option<Answering>,
    /// The next position that is judged again after a change; at the table's extent when all are.
    sweep: usize,
    /// When flows are next judged again because rules may have expired.
    next_review: Tick,
}

/// Eight bytes of the secret.
fn word(secret: &[u8; 32], at: usize) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(secret.iter().skip(at * 8)) {
        *to = *from;
    }
    u64::from_le_bytes(bytes)
}

/// A hash key for one use: a function of the whole secret that is different for each use.
fn key(secret: &[u8; 32], use_of_key: u64) -> (u64, u64) {
    let root = SipHasher13::new_with_keys(word(secret, 0), word(secret, 1));
    let mut input = [0; 24];
    let parts = [word(secret, 2), word(secret, 3), use_of_key];
    for (to, from) in input.iter_mut().zip(parts.iter().flat_map(|part| part.to_le_bytes())) {
        *to = from;
    }
    let first = root.hash(&input);
    input[23] = 1;
    (first, root.hash(&input))
}

impl Engine {
    /// An engine with empty tables; `secret` must be random.
    pub fn new(settings: Settings, rules: RuleTable, secret: [u8; 32], now: Moment) -> Engine {
        let key =
            |label: u64| (word(&secret, 0) ^ word(&secret, 2), word(&secret, 1) ^ word(&secret, 3) ^ label);
        let limits =
            MappingLimits { mappings: settings.mappings, ports_per_client: settings.quotas.ports_per_client };
        let rest = settings.timeouts.port_rest;
        let mut mappings = Mappings::new(limits, settings.own_ports.clone(), rest, [key(1), key(2)]);
        mappings.reserve(rules.forwarded_ports());
        let timeouts = settings.timeouts;
        let flows =
            FlowTable::new(settings.flows, settings.quotas.flows_per_client, timeouts, key(0), Tick::at(now));
        Engine {
            clients: Clients::new(),
            flows,
            mappings,
            idents: Idents::new(key(3)),
            generation: Generation(1),
            counters: Counters::default(),
            uplink_errors: Allowance::new(settings.quotas.errors),
            wall: (now, UnixSeconds(0)),
            answer: [0; report::MAX_BYTES],
            answering: None,
            sweep: 0,
            next_review: Tick::at(now),
            settings,
            rules,
        }
    }

    /// A store for fragments under this engine's limits; `secret` as in [`Engine::new`].
    pub fn new_fragments<D>(&self, secret: &[u8; 32]) -> Fragments<D> {
        Fragments::new(&self.settings.fragments, self.settings.timeouts.fragments, key(secret, 4))
    }

    /// Who is attached.
    pub const fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The wall clock at `now`.
    pub(super) fn unix(&self, now: Moment) -> UnixSeconds {
        UnixSeconds(self.wall.1.0.saturating_add(now.since(self.wall.0).as_secs()))
    }

    /// Sets the wall clock.
    pub fn set_wall_clock(&mut self, now: Moment, unix: UnixSeconds) {
        self.wall = (now, unix);
    }

    /// Makes every flow be judged anew: at its next packet, or by [`Engine::advance`].
    pub(super) fn judge_all_again(&mut self) {
        self.generation = Generation(self.generation.0.wrapping_add(1));
        self.sweep = 0;
    }

    /// Attaches a client; slot and address must be free.
    pub fn attach(&mut self, slot: ClientSlot, address: Ipv4Addr) {
        self.clients.attach(slot, address, &self.settings.quotas);
        self.flows.set_membership(Account::client(slot), Membership::Member);
        self.mappings.set_membership(Account::client(slot), Membership::Member);
        // A flow to this address on the uplink must end.
        self.judge_all_again();
    }

    /// Detaches the client on `slot`: its flows end, its ports rest for nobody. Walks over all flows.
    pub fn detach(&mut self, slot: ClientSlot, now: Moment) {
        if self.clients.detach(slot).is_none() {
            return;
        }
        self.revoke_where(now, |flow| flow.near == slot || flow.route == Route::Between(slot));
        self.mappings.depart(slot, Tick::at(now));
        self.flows.set_membership(Account::client(slot), Membership::Guest);
        self.mappings.set_membership(Account::client(slot), Membership::Guest);
    }

    /// Replaces the rules: flows they forbid end, others go on.
    pub fn set_rules(&mut self, rules: RuleTable) {
        self.rules = rules;
        self.mappings.reserve(self.rules.forwarded_ports());
        self.judge_all_again();
    }

    /// Replaces our address on the uplink: translated flows end. A gateway address that was the same follows.
    pub fn set_uplink_address(&mut self, address: Ipv4Addr, now: Moment) {
        if address == self.settings.uplink {
            return;
        }
        if self.settings.gateway == self.settings.uplink {
            self.settings.gateway = address;
        }
        self.settings.uplink = address;
        self.revoke_where(now, |flow| !matches!(flow.route, Route::Between(_)));
    }

    /// Ends all flows that `is_one` recognises.
    fn revoke_where(&mut self, now: Moment, is_one: impl Fn(&Flow) -> bool) {
        for position in 0..self.flows.extent() {
            if let Some(id) = self.flows.id_at(position)
                && self.flows.get(id).is_some_and(&is_one)
            {
                self.end(id, now);
                self.counters.revoked += 1;
            }
        }
    }

    /// Ends a flow and lets its port rest.
    pub(super) fn end(&mut self, id: Id<Flow>, now: Moment) {
        if let Some(flow) = self.flows.remove(id) {
            self.release(&flow, now);
        }
    }

    fn release(&mut self, flow: &Flow, now: Moment) {
        if let Some(mapping) = flow.mapping {
            self.mappings.release(mapping, Tick::at(now));
        }
    }

    /// Whether the flow `id` still exists at `now` under the present rules; if not it is ended.
    pub(super) fn is_alive(&mut self, id: Id<Flow>, now: Moment) -> bool {
        let Some(flow) = self.flows.get(id) else { return false };
        if flow.deadline.is_over(Tick::at(now)) {
            self.end(id, now);
            self.counters.expired += 1;
            return false;
        }
        flow.judged == self.generation || self.is_still_allowed(id, now)
    }

    /// Judges the flow `id` again; ends it if it is forbidden now.
    fn is_still_allowed(&mut self, id: Id<Flow>, now: Moment) -> bool {
        let Some(flow) = self.flows.get(id).copied() else { return false };
        if self.judge(&flow, now) != Answer::Accept {
            self.end(id, now);
            self.counters.revoked += 1;
            return false;
        }
        if let Some(flow) = self.flows.get_mut(id) {
            flow.judged = self.generation;
        }
        true
    }

    /// What the rules say about a flow, and whether its ends are where they were.
    pub(super) fn judge(&self, flow: &Flow, now: Moment) -> Answer {
        let Some(near) = self.clients.get(flow.near) else { return Answer::Unknown };
        let has_ports = matches!(flow.protocol, protocol::TCP | protocol::UDP);
        let question = Question {
            source: near.address,
            destination: flow.far,
            protocol: flow.protocol,
            destination_port: has_ports.then_some(flow.far_port),
            icmp_type: (flow.protocol == protocol::ICMP).then_some(icmp::kind::ECHO_REQUEST),
            now: self.unix(now),
        };
        match flow.route {
            Route::Outward if self.clients.slot_of(flow.far).is_some() => Answer::Reject,
            Route::Outward => self.rules.outward(&question),
            Route::Between(peer) if self.clients.slot_of(flow.far) == Some(peer) => {
                self.rules.between(&question)
            }
            Route::Between(_) => Answer::Reject,
            Route::Forwarded => {
                let target = self.rules.port_forward(flow.protocol, flow.outer_port);
                let holds = target.is_some_and(|to| *to.ip() == near.address && to.port() == flow.near_port);
                if holds && self.clients.slot_of(flow.far).is_none() {
                    Answer::Accept
                } else {
                    Answer::Reject
                }
            }
        }
    }

    /// Does what time has brought due, up to `budget` flows; returns whether more is left.
    pub fn advance(&mut self, now: Moment, budget: usize) -> Progress {
        let tick = Tick::at(now);
        if self.next_review <= tick {
            self.next_review = tick.after(REVIEW);
            self.generation = Generation(self.generation.0.wrapping_add(1));
        }
        self.mappings.free_rested(tick, budget);
        let mut left = budget;
        while left > 0 {
            left -= 1;
            match self.flows.next_due(tick) {
                Some(Due::Expired(flow)) => {
                    self.release(&flow, now);
                    self.counters.expired += 1;
                }
                Some(Due::Alive) => {}
                None => break,
            }
        }
        while left > 0 && self.sweep < self.flows.extent() {
            left -= 1;
            if let Some(id) = self.flows.id_at(self.sweep) {
                self.is_alive(id, now);
            }
            self.sweep += 1;
        }
        if left == 0 { Progress::MoreToDo } else { Progress::Done }
    }

    /// When [`Engine::advance`] has something to do; a moment in the past when it has now.
    pub fn next_deadline(&self) -> Option<Moment> {
        if self.sweep < self.flows.extent() {
            return Some(Moment::from_nanoseconds(0));
        }
        let flows = self.flows.next_deadline();
        let ports = self.mappings.next_deadline();
        flows.into_iter().chain(ports).min().map(Tick::begins)
    }

    /// What can be said of every packet and fragment from `from` by its IP header alone: it comes from who is
    /// there, goes to us if it is from the uplink, and asks for no route of its own (conformance F-7, F-9).
    pub fn screen(&self, from: Side, parcel: &Parcel<'_>) -> Result<(), Drop> {
        match from {
            Side::Client(slot) => {
                let client = self.clients.get(slot).ok_or(Drop::NoClient)?;
                if parcel.ip.source != client.address {
                    return Err(Drop::Spoofed);
                }
            }
            Side::Uplink if parcel.ip.destination != self.settings.uplink => return Err(Drop::NotForUs),
            Side::Uplink => {}
        }
        let options_end = usize::from(parcel.ip.header_bytes);
        if options_end == ipv4::HEADER_BYTES {
            return Ok(());
        }
        match ipv4::options(parcel.header.get(ipv4::HEADER_BYTES..options_end).unwrap_or(&[])) {
            Options::Harmless => Ok(()),
            Options::SourceRoute => Err(Drop::SourceRoute),
            Options::Broken => Err(Drop::IpOptions),
        }
    }

    /// Judges a packet that came from `from`, whole or the first fragment of its datagram.
    pub fn judge_packet(&mut self, now: Moment, from: Side, parcel: &mut Parcel<'_>) -> Verdict {
        match from {
            Side::Client(slot) => self.outbound(now, slot, parcel),
            Side::Uplink => self.inbound(now, parcel),
        }
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a packet dropped for `why`.
    pub fn count_drop(&mut self, why: Drop) {
        self.counters.drop(why);
    }

    /// Counts a packet that goes from one side to another; returns the MTU of the side it leaves by.
    pub fn count_forwarded(&mut self, from: Side, to: Side) -> u16 {
        match (from, to) {
            (Side::Client(_), Side::Uplink) => self.counters.outward += 1,
            (Side::Uplink, _) => self.counters.inward += 1,
            (Side::Client(_), Side::Client(_)) => self.counters.between += 1,
        }
        self.mtu(to)
    }

    /// Flows there are.
    pub const fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// Mappings there are.
    pub const fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    /// The MTU of a side.
    pub(super) const fn mtu(&self, side: Side) -> u16 {
        match side {
            Side::Uplink => self.settings.uplink_mtu,
            Side::Client(_) => self.settings.client_mtu,
        }
    }

    /// Prepares an ICMP error about `parcel` to the side it came from, unless it may not have one.
    pub(super) fn report(&mut self, now: Moment, to: Side, parcel: &Parcel<'_>, what: Report) {
        if !report::may_report(&parcel.ip, parcel.header) {
            return;
        }
        let (allowance, source) = match to {
            Side::Uplink => (Some(&mut self.uplink_errors), self.settings.uplink),
            Side::Client(slot) => {
                (self.clients.get_mut(slot).map(|client| &mut client.errors), self.settings.gateway)
            }
        };
        if allowance.is_none_or(|allowance| allowance.take(now) == Taken::Exhausted) {
            self.counters.unanswered += 1;
            return;
        }
        let quoted = parcel.header.get(..usize::from(parcel.ip.total_bytes)).unwrap_or(parcel.header);
        let bytes = report::write(&mut self.answer, what, source, parcel.ip.source, quoted);
        self.answering = Some(Answering { to, bytes });
        self.counters.answered += 1;
    }

    /// Prepares a RST to the client that sent `segment`.
    pub(super) fn reset(&mut self, now: Moment, to: ClientSlot, ip: &Ipv4, segment: &Tcp) {
        let allowance = self.clients.get_mut(to).map(|client| &mut client.resets);
        if allowance.is_none_or(|allowance| allowance.take(now) == Taken::Exhausted) {
            self.counters.unanswered += 1;
            return;
        }
        let bytes = crate::route::reset::write(&mut self.answer, ip, segment);
        self.answering = Some(Answering { to: Side::Client(to), bytes });
        self.counters.answered += 1;
    }

    /// The answer that the last packet asked for, and where it goes.
    pub fn take_answer(&mut self) -> Option<(Side, &[u8])> {
        let Answering { to, bytes } = self.answering.take()?;
        Some((to, self.answer.get(..bytes)?))
    }
}

/// Whether work that is due is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All that was due is done.
    Done,
    /// Call again soon.
    MoreToDo,
}
