//! The engine without its packets: judges one header at a time and says where the packet goes.
//!
//! [`Engine`](super::Engine) owns packets; this owns everything else. The stages are in the files beside it: `outbound`
//! and `inbound` find a packet's flow, `open` makes a new one, for which `room` finds a place, `established` takes a
//! packet along its flow, `icmp_error` translates ICMP errors, `reply` makes our own, `revalidate` does what time
//! brings due. A client is given by its number everywhere here, never by the slot of its vif ([`ClientTable`]).

use core::net::Ipv4Addr;

use siphasher::sip::SipHasher13;

use super::clients::{ClientTable, Concerned};
use super::inside::InsideAddresses;
use super::mtus::Mtus;
use super::own_datagram::OwnDatagram;
use super::second::Second;
use super::settings::Settings;
use super::spared::Spared;
use super::walk::Walks;
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::base::tick::Tick;
use crate::base::time::{Moment, UnixSeconds};
use crate::engine::counters::Counters;
use crate::flow::fragments::Fragments;
use crate::flow::freshness::Freshness;
use crate::flow::record::{Flow, Generation};
use crate::flow::table::FlowTable;
use crate::guard::RuleTable;
use crate::guard::rule_update::RuleUpdate;
use crate::nat::ident::Idents;
use crate::nat::mapping::MappingLimits;
use crate::nat::mapping_table::Mappings;
use crate::nat::translation::Translation;
use crate::route::icmp_error;
use crate::tables::allowance::Allowance;
use crate::tables::share::{Account, Membership, Share};
use crate::tables::slab::Id;
use crate::wire::checksum;
use crate::wire::ipv4::{self, Ipv4, Options, Part};
use crate::wire::packet::{Checksum, Offload, Packet};

/// A packet as the engine sees it: header bytes that may be changed, and what is known about it.
pub struct PacketView<'a> {
    /// The packet from its first byte, as [`Packet::header`] gives it.
    pub header: &'a mut [u8],
    /// What its IP header says.
    pub ip: Ipv4,
    /// What its sender left to do.
    pub offload: Offload,
}

impl PacketView<'_> {
    /// A copy, to be handed to a stage that is not inlined: then this one can stay in registers on the way that most
    /// packets take.
    pub const fn again(&mut self) -> PacketView<'_> {
        PacketView { header: self.header, ip: self.ip, offload: self.offload }
    }

    /// Verifies the checksum of an ICMP message that is all in the header. A longer one keeps a wrong sum wrong.
    pub(super) fn verify_icmp(&self) -> Result<(), DropReason> {
        let message = self.header.get(usize::from(self.ip.header_bytes)..usize::from(self.ip.total_bytes));
        match message {
            Some(message)
                if self.ip.part == Part::Whole
                    && self.offload.checksum == Checksum::Unverified
                    && checksum::of(message) != 0 =>
            {
                Err(DropReason::IcmpChecksum)
            }
            _ => Ok(()),
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was rewritten and leaves.
    Forward(Translation),
    /// It is for a port of our own.
    Receive(OwnDatagram),
    /// It is dropped. An answer may be waiting in [`Datapath::take_reply`].
    Discard(DropReason),
}

/// An answer waiting to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingReply {
    pub(super) to: Side,
    pub(super) destination: Ipv4Addr,
    pub(super) bytes: usize,
}

/// Whether there is a secret for the tables' hashes and the choice of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entropy {
    /// A random secret.
    Available,
    /// Numbers that anybody may know: nothing is forwarded, whatever the rules (conformance P-11).
    Missing,
}

/// The tables and the rules.
pub struct Datapath {
    pub(super) settings: Settings,
    pub(super) rules: RuleTable,
    pub(super) clients: ClientTable,
    /// Addresses of clients that are connected or not.
    pub(super) inside: InsideAddresses,
    pub(super) mtus: Mtus,
    pub(super) flows: FlowTable,
    /// Places for flows, by account.
    pub(super) places: Share,
    /// Who may have more than a limit allows, and is spared.
    pub(super) spared: Spared,
    pub(super) mappings: Mappings,
    pub(super) idents: Idents,
    pub(super) generation: Generation,
    pub(super) freshness: Freshness,
    /// When our address on the uplink last changed: translated flows that were judged before are over.
    pub(super) readdressed: Generation,
    pub(super) counters: Counters,
    pub(super) uplink_errors: Allowance,
    pub(super) uplink_pings_left: Allowance,
    /// The wall clock at some moment, to carry on from.
    pub(super) wall: (Moment, UnixSeconds),
    pub(super) reply: [u8; icmp_error::MAX_BYTES],
    pub(super) pending_reply: Option<PendingReply>,
    /// Looks for flows that are over since something changed.
    pub(super) walks: Walks,
    /// When a rule expires next, and flows are judged again.
    pub(super) next_revalidation: Moment,
    /// The second of the last packet that the fast path looked at.
    pub(super) second: Second,
    /// Per reason, when the log may next be told that something ran out.
    pub(super) next_warnings: [Tick; DropReason::ALL.len()],
    /// Whether rules may be believed.
    entropy: Entropy,
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

impl Datapath {
    /// An engine with empty tables under this `secret`, which is random if the `entropy` says so.
    pub fn new(
        settings: Settings,
        rules: RuleTable,
        secret: [u8; 32],
        entropy: Entropy,
        now: Moment,
    ) -> Datapath {
        let key = |use_of_key| key(&secret, use_of_key);
        let limits =
            MappingLimits { mappings: settings.mappings, ports_per_client: settings.quotas.ports_per_client };
        let quarantine = settings.timeouts.port_quarantine;
        let mappings = Mappings::new(limits, settings.own_ports.clone(), quarantine, [key(1), key(2)]);
        let timeouts = settings.timeouts;
        let flows = FlowTable::new(settings.flows, timeouts, key(0), Tick::at(now));
        let mut engine = Datapath {
            clients: ClientTable::new(),
            inside: InsideAddresses::default(),
            mtus: Mtus::new(&settings),
            flows,
            places: Share::new(settings.flows, settings.quotas.flows_per_client),
            spared: Spared::new(),
            mappings,
            idents: Idents::new(key(3)),
            generation: Generation::default(),
            freshness: Freshness::since(Generation::default()),
            readdressed: Generation::default(),
            counters: Counters::default(),
            uplink_errors: Allowance::new(settings.quotas.errors),
            uplink_pings_left: Allowance::new(settings.quotas.uplink_pings),
            wall: (now, UnixSeconds(0)),
            reply: [0; icmp_error::MAX_BYTES],
            pending_reply: None,
            walks: Walks::default(),
            next_revalidation: Moment::END,
            second: Second::default(),
            next_warnings: [Tick(0); DropReason::ALL.len()],
            entropy,
            settings,
            rules: RuleTable::block_all(),
        };
        engine.set_rules(rules, now);
        engine
    }

    /// A store for fragments under this engine's limits; `secret` as in [`Datapath::new`].
    pub fn new_fragments<D: Packet>(&self, secret: &[u8; 32]) -> Fragments<D> {
        Fragments::new(&self.settings.fragments, self.settings.timeouts.fragments, key(secret, 4))
    }

    /// Who is attached.
    pub const fn clients(&self) -> &ClientTable {
        &self.clients
    }

    /// The wall clock at `now`.
    pub(super) fn unix(&self, now: Moment) -> UnixSeconds {
        UnixSeconds(self.wall.1.0.saturating_add(now.since(self.wall.0).as_secs()))
    }

    /// Sets the wall clock.
    pub fn set_wall_clock(&mut self, now: Moment, unix: UnixSeconds) {
        let expected = self.rules.next_expiry(self.unix(now));
        self.wall = (now, unix);
        if self.rules.next_expiry(unix) != expected {
            self.rules.look_at_expiries(unix);
            self.judge_all_again();
        }
        self.plan_revalidation(now);
    }

    /// Attaches a client; slot and address must be free. Returns its number. Takes as long whatever the number of
    /// flows: those that it concerns are judged again when they are met.
    pub fn attach(&mut self, slot: ClientSlot, address: Ipv4Addr, now: Moment) -> Option<ClientSlot> {
        let holds_nothing = |number| {
            let account = Account::client(number);
            self.places.held(account) == 0 && self.mappings.held(account) == 0
        };
        let (number, concerned) = self.clients.attach(slot, address, &self.settings.quotas, holds_nothing)?;
        self.mtus.reset(number);
        self.set_membership(number, Membership::Member);
        self.begin_generation();
        // Flows to this address on the uplink must end.
        match concerned {
            Concerned::All => {
                self.freshness.demand_of_all(self.generation);
                self.ask_for_walk(now);
            }
            Concerned::Some(callers) => {
                callers.iter().for_each(|caller| self.freshness.demand(caller, self.generation));
                if !callers.is_empty() {
                    self.ask_for_walk(now);
                }
            }
        }
        Some(number)
    }

    /// Detaches the client of this number: its flows are over, its ports go into quarantine. Takes as long whatever the number of
    /// flows: they are taken out by [`Datapath::advance`] or when somebody wants what they keep.
    pub fn detach(&mut self, number: ClientSlot, now: Moment) {
        if self.clients.get(number).is_none() {
            return;
        }
        self.begin_generation();
        self.freshness.demand(number, self.generation);
        self.flows.condemn(Account::client(number), self.generation);
        if !self.clients.detach(number, Tick::at(now)).is_empty() {
            self.ask_for_walk(now);
        }
        self.set_membership(number, Membership::Guest);
    }

    fn set_membership(&mut self, number: ClientSlot, member: Membership) {
        self.places.set_membership(Account::client(number), member);
        self.mappings.set_membership(Account::client(number), member);
    }

    /// Counts a change of rules or clients.
    pub(super) fn begin_generation(&mut self) {
        self.generation = self.generation.next();
        if let Some(floor) = self.generation.round_before() {
            self.freshness.raise(floor);
            self.flows.raise(floor);
            self.readdressed = self.readdressed.max(floor);
            self.walks.ask();
        }
    }

    /// Flows may be over because of what others did: a client that came or went, or whoever owns a name.
    pub(super) fn ask_for_walk(&mut self, now: Moment) {
        if !self.flows.is_empty() {
            self.walks.ask_for_peer(now);
        }
    }

    /// Sets the MTU of `side`.
    pub const fn set_mtu(&mut self, side: Side, bytes: u16) {
        self.mtus.set(side, bytes);
    }

    /// Replaces the rules: flows they forbid end, others go on. So do the counts of rules that stay.
    pub fn set_rules(&mut self, rules: RuleTable, now: Moment) {
        let mut rules = match self.entropy {
            Entropy::Available => rules,
            Entropy::Missing => RuleTable::block_all(),
        };
        self.rules.set_clock(self.unix(now));
        rules.replace(&mut self.rules);
        self.rules = rules;
        self.reserve_forwards();
        self.judge_all_again();
        self.plan_revalidation(now);
    }

    /// Takes up live rules: flows they forbid end, others go on. Where they are those of some clients, only flows of these
    /// are judged again.
    pub fn update_rules(&mut self, update: RuleUpdate, now: Moment) {
        self.rules.set_clock(self.unix(now));
        match &update {
            RuleUpdate::Clients(clients) => {
                self.begin_generation();
                for client in clients {
                    if let Some(number) = self.clients.slot_of(client.client()) {
                        self.freshness.demand(number, self.generation);
                    }
                }
                self.rules.update(update);
                self.ask_for_walk(now);
            }
            RuleUpdate::Lines(..) => {
                self.rules.update(update);
                self.reserve_forwards();
                self.judge_all_again();
                self.plan_revalidation(now);
            }
        }
    }

    /// Keeps forwarded ports out of the pools, and a part of the flow table for what comes in by them.
    fn reserve_forwards(&mut self) {
        self.mappings.reserve(self.rules.forwarded_ports());
        let membership = match self.rules.forwarded_ports().next() {
            Some(_) => Membership::Member,
            None => Membership::Guest,
        };
        self.places.set_membership(Account::UPLINK, membership);
    }

    /// Ends a flow; its port goes into quarantine.
    #[cold]
    pub(super) fn end(&mut self, id: Id<Flow>, now: Moment) {
        if let Some(flow) = self.flows.remove(id, &mut self.places) {
            self.release(&flow, now);
        }
    }

    pub(super) fn release(&mut self, flow: &Flow, now: Moment) {
        if let Some(mapping) = flow.mapping {
            self.mappings.release(mapping, Tick::at(now));
        }
    }

    /// What can be said of every packet and fragment from `from` by its IP header alone: it comes from who is
    /// there, goes to us if it is from the uplink, and asks for no route of its own (conformance F-7, F-9).
    #[inline(always)]
    pub fn screen(&self, from: Side, view: &PacketView<'_>) -> Result<(), DropReason> {
        match from {
            Side::Client(slot) => {
                let client = self.clients.get(slot).ok_or(DropReason::NoClient)?;
                if view.ip.source != client.visible.address {
                    return Err(DropReason::Spoofed);
                }
            }
            Side::Uplink if view.ip.destination != self.settings.uplink => return Err(DropReason::NotForUs),
            Side::Uplink => {}
        }
        let options_end = usize::from(view.ip.header_bytes);
        if options_end == ipv4::HEADER_BYTES {
            return Ok(());
        }
        match ipv4::options(view.header.get(ipv4::HEADER_BYTES..options_end).unwrap_or(&[])) {
            Options::Harmless => Ok(()),
            Options::SourceRoute => Err(DropReason::SourceRoute),
            Options::Broken => Err(DropReason::IpOptions),
        }
    }

    /// Judges a packet that came from `from`, whole or the first fragment of its datagram.
    #[inline(never)]
    pub fn judge_packet(&mut self, now: Moment, from: Side, view: &mut PacketView<'_>) -> Verdict {
        if now >= self.next_revalidation {
            self.revalidate(now);
        }
        match from {
            Side::Client(slot) => self.outbound(now, slot, view),
            Side::Uplink => self.inbound(now, view),
        }
    }

    /// As [`Datapath::judge_packet`], but not inlined into its caller.
    #[inline(never)]
    pub fn judge_first_fragment(&mut self, now: Moment, from: Side, view: &mut PacketView<'_>) -> Verdict {
        self.judge_packet(now, from, view)
    }

    /// Addresses of clients, connected or not, as far as they were told.
    pub const fn inside(&self) -> &InsideAddresses {
        &self.inside
    }

    /// The rules that are in effect, and how often each decided.
    pub const fn rules(&self) -> &RuleTable {
        &self.rules
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a packet dropped for `why`.
    pub fn count_drop(&mut self, why: DropReason) {
        self.counters.dropped.count(why);
    }

    /// Counts `packets` that go from one side to another.
    #[inline(always)]
    pub fn count_forwarded(&mut self, from: Side, to: Side, packets: u16) {
        let packets = u64::from(packets);
        match (from, to) {
            (Side::Client(_), Side::Uplink) => self.counters.outward += packets,
            (Side::Uplink, Side::Client(_)) => self.counters.inward += packets,
            (Side::Client(_), Side::Client(_)) | (Side::Uplink, Side::Uplink) => {
                self.counters.between += packets;
            }
        }
    }

    /// The MTU of `side`.
    #[inline(always)]
    pub const fn mtu(&self, side: Side) -> u16 {
        self.mtus.of(side)
    }

    /// What fits any side.
    pub const fn least_mtu(&self) -> u16 {
        self.mtus.least()
    }

    /// Flows there are.
    pub const fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// Who takes how many of the places for flows.
    pub const fn places(&self) -> &Share {
        &self.places
    }

    /// Mappings there are.
    pub const fn mappings(&self) -> &Mappings {
        &self.mappings
    }
}
