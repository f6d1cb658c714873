//! The rule table: whether a flow may begin is answered here, without allocating.
//!
//! It is built once from sections, permits and forwards of the rule file, and takes up live rules while packets pass
//! ([`RuleUpdate`]), which costs what changes. A client's section is the one with the longest prefix around its address,
//! which counts as a whole; in a qube it is the one that QubesDB has for it, or none ([`SectionsOf`]). With n rules and
//! sections a look-up takes O(log n) steps to find the section, O(log n) to find the destination's networks, and at most
//! 33 times O(log² n) to find the first rule of each: 0.1 µs at 10,000 rules as people write them, 3 µs when made to be
//! slow (measured on the host). Rules are asked when a flow begins, and again when they change.

use super::forward::{ForwardTarget, PortForwards};
use super::hits::RuleHits;
use super::live_rules::LiveRules;
use super::name_addresses::{FlowAge, FlowsConcerned, NameAddresses};
use super::permit::{Permit, Permits};
use super::prefix_index::{PrefixIndex, sort_by_network};
use super::rule::RuleAction;
use super::rule_names::RuleNames;
use super::rule_texts::RuleTexts;
use super::rule_update::RuleUpdate;
use super::ruling::{FlowRequest, RuledBy, Ruling};
use super::section::Section;
use super::wanted_names::wanted_names;
use crate::base::host_name::HostName;
use crate::base::prefix::Ipv4Prefix;
use crate::base::rule_owners::RuleOwners;
use crate::base::sort::sort_by_key;
use crate::base::time::{Moment, UnixSeconds};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

/// Whose sections count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SectionsOf {
    /// The rule file's.
    #[default]
    File,
    /// Those that QubesDB has for each client: who has none is unknown.
    QubesDb,
    /// Nobody's, as the rule file cannot be read: everything is refused.
    Nobody,
}

/// What a table is made of.
#[derive(Debug, Default)]
pub struct RuleTableParts {
    /// What clients without a section of their own may do; they are unknown without it.
    pub default: Option<Section>,
    /// The other sections, by the clients they are for; host bits do not count. Of several for the same network
    /// the last counts.
    pub clients: Vec<(Ipv4Prefix, Section)>,
    /// Who may reach which other client, in order.
    pub permits: Vec<Permit>,
    /// Uplink ports that lead to clients.
    pub forwards: PortForwards,
    /// What all of them say, if they were read from a text.
    pub texts: Option<RuleTexts>,
    /// Whose sections count.
    pub sections: SectionsOf,
}

/// Everything the user allows and forbids.
#[derive(Debug)]
pub struct RuleTable {
    default: Option<Section>,
    /// Sections with their networks, in the order of [`order`], none twice.
    clients: Vec<(Ipv4Prefix, Section)>,
    prefixes: PrefixIndex<Ipv4Addr>,
    permits: Permits,
    /// The file's.
    own_forwards: PortForwards,
    /// These and the live ones, which go before them.
    forwards: PortForwards,
    sections: SectionsOf,
    live: LiveRules,
    /// When rules stop counting, the first first.
    expiries: Box<[UnixSeconds]>,
    hits: RuleHits,
    /// What the names in all sections stand for.
    names: NameAddresses,
    /// What time it was when this was last of concern: which rules refuse names.
    clock: UnixSeconds,
}

impl RuleTable {
    /// Arranges the parts for look-up.
    pub fn new(parts: RuleTableParts) -> Self {
        let RuleTableParts { default, clients, permits, forwards, texts, sections } = parts;
        let mut table = Self {
            default,
            clients: Vec::new(),
            prefixes: PrefixIndex::default(),
            permits: Permits::new(&permits),
            own_forwards: forwards.clone(),
            forwards,
            sections,
            live: LiveRules::default(),
            expiries: Box::default(),
            hits: RuleHits::default(),
            names: NameAddresses::default(),
            clock: UnixSeconds::default(),
        };
        table.arrange(clients);
        if let Some(texts) = texts {
            table.hits.note_texts(&texts);
        }
        table
    }

    /// The table without a rule file: every client may begin flows to the outside; nothing comes in, and no
    /// client reaches another.
    pub fn allow_all() -> Self {
        Self::new(RuleTableParts {
            default: Some(Section::new(&[], RuleAction::Accept)),
            texts: Some(RuleTexts::EMPTY),
            ..RuleTableParts::default()
        })
    }

    /// The table of a rule file that cannot be read: everything is refused.
    pub fn block_all() -> Self {
        Self::new(RuleTableParts {
            default: Some(Section::BLOCKED),
            sections: SectionsOf::Nobody,
            ..RuleTableParts::default()
        })
    }

    /// The same table with sections of QubesDB, if its file can be read.
    #[must_use]
    pub const fn for_qube(mut self) -> Self {
        if matches!(self.sections, SectionsOf::File) {
            self.sections = SectionsOf::QubesDb;
        }
        self
    }

    /// Whether a client may begin this flow to the outside.
    pub fn outward(&self, request: &FlowRequest) -> Ruling {
        self.outward_at(request, FlowAge::New)
    }

    /// Whether a flow to the outside that a client has begun, or wants to begin, may be.
    pub fn outward_at(&self, request: &FlowRequest, age: FlowAge) -> Ruling {
        let base = &self.live.base.rules;
        let section = self.section_of(request.source);
        section.map_or(Ruling::UNKNOWN, |section| section.judge(base, request, &self.names, age))
    }

    /// Whether a client may begin this flow to another client.
    pub fn between(&self, request: &FlowRequest) -> Ruling {
        self.between_at(request, FlowAge::New)
    }

    /// Whether a flow to another client that a client has begun, or wants to begin, may be.
    pub fn between_at(&self, request: &FlowRequest, age: FlowAge) -> Ruling {
        match self.section_of(request.source) {
            None => Ruling::UNKNOWN,
            Some(section) if section.is_blocked(age) || self.is_blocked(request.destination, age) => {
                Ruling::BLOCKED
            }
            Some(_) => {
                let live = self.live.permits.rules.decide(request);
                live.or_else(|| self.permits.decide(request)).unwrap_or(Ruling::REJECTED_BY_NO_RULE)
            }
        }
    }

    /// When the next rule stops counting, after `now`.
    pub fn next_expiry(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        let past = self.expiries.partition_point(|end| *end <= now);
        self.expiries.get(past).copied()
    }

    /// Where an uplink port leads; `protocol` is the IPv4 header's. A client whose section is blocked is not
    /// reached, nor in a qube one of which nothing is known.
    pub fn port_forward(&self, protocol: u8, uplink_port: u16) -> Option<ForwardTarget> {
        self.port_forward_at(protocol, uplink_port, FlowAge::New)
    }

    /// Where an uplink port leads to a flow that is there, or is to begin.
    pub fn port_forward_at(&self, protocol: u8, uplink_port: u16, age: FlowAge) -> Option<ForwardTarget> {
        self.forwards.lead(protocol, uplink_port).filter(|target| !self.is_blocked(*target.to.ip(), age))
    }

    /// The uplink port that leads to a client's endpoint, if one does: its mapping.
    pub fn port_to(&self, protocol: u8, endpoint: SocketAddrV4) -> Option<u16> {
        self.forwards.port_to(protocol, endpoint)
    }

    /// Protocols and uplink ports that lead to clients, blocked ones included: NAT must not give them out.
    pub fn forwarded_ports(&self) -> impl Iterator<Item = (u8, u16)> + '_ {
        self.forwards.ports()
    }

    /// Counts a packet that asked to begin a flow and was ruled upon. The look-ups above do not: they are also for
    /// flows that are judged again.
    pub fn count(&mut self, by: RuledBy) {
        let live = match by {
            RuledBy::Rule(id) => self.live.hits_mut(id.source),
            RuledBy::NoRule | RuledBy::BlockedSection => None,
        };
        live.unwrap_or(&mut self.hits).count(by);
    }

    /// How often it was ruled so.
    pub fn count_of(&self, by: RuledBy) -> u64 {
        let live = match by {
            RuledBy::Rule(id) => self.live.hits_of(id.source),
            RuledBy::NoRule | RuledBy::BlockedSection => None,
        };
        live.unwrap_or(&self.hits).of(by)
    }

    /// How often each rule decided, for the console.
    pub fn hit_lines(&self) -> Vec<String> {
        self.hits.lines(self.live.hits())
    }

    /// Takes the place of the table `before`, and its live rules: rules that stay keep their counts, and names what is known
    /// of them.
    pub fn replace(&mut self, before: &mut Self) {
        self.hits.go_on_from(&before.hits);
        self.live = core::mem::take(&mut before.live);
        self.names = core::mem::take(&mut before.names);
        self.clock = before.clock;
        self.join_forwards();
        self.note_expiries();
        self.note_names();
    }

    /// What the names in the rules stand for.
    pub const fn names(&self) -> &NameAddresses {
        &self.names
    }

    /// The same, to note which of it is used.
    pub const fn names_mut(&mut self) -> &mut NameAddresses {
        &mut self.names
    }

    /// A name stands for these addresses from `now` on, or for nothing.
    pub fn set_addresses(
        &mut self,
        host: &HostName,
        addresses: impl Iterator<Item = Ipv4Addr>,
        now: Moment,
    ) -> FlowsConcerned {
        let Some(news) = self.names.set(host, addresses, now) else { return FlowsConcerned::None };
        if news.is_first {
            self.for_all_names(&mut |_, names| names.note_known(host));
        }
        match news.refuses_more {
            false => FlowsConcerned::None,
            true if self.live.base.rules.names().refuse(host) => FlowsConcerned::All,
            true => FlowsConcerned::OfThoseWhoRefuse,
        }
    }

    /// Whether the rules of this client itself refuse a name.
    pub fn refuses(&self, client: Ipv4Addr, host: &HostName) -> bool {
        let names = self.section_of(client).and_then(Section::names);
        names.is_some_and(|names| names.refuse(host))
    }

    /// Whom a name keeps from beginning flows; `None` of one that is known, or that nobody's rules refuse.
    #[inline(never)]
    pub fn blocked_by(&self, host: &HostName) -> Option<RuleOwners> {
        if !self.names.is_missed(host) {
            return None;
        }
        let refuse = |names: &RuleNames| names.refuse(host);
        let section = |section: &Section| section.names().is_some_and(refuse);
        let of_all = self.sections == SectionsOf::File && self.default.as_ref().is_some_and(section);
        if of_all || refuse(self.live.base.rules.names()) {
            return Some(RuleOwners::All);
        }
        let live = self.live.clients.sections().filter(|_| self.sections == SectionsOf::QubesDb);
        let live = live.filter(|(_, it)| section(it)).map(|(client, _)| Ipv4Prefix::host(client));
        let file = self.clients.iter().filter(|_| self.sections == SectionsOf::File);
        let mut blocked = file.filter(|(_, it)| section(it)).map(|(network, _)| *network).chain(live);
        blocked.next().map(|first| RuleOwners::Clients { first, more: blocked.count() })
    }

    /// Whether the rules of this client itself have a name.
    pub fn has_name(&self, client: Ipv4Addr, host: &HostName) -> bool {
        self.section_of(client).is_some_and(|section| section.has_name(host))
    }

    /// Says what time it is to rules that are to be taken up.
    pub const fn set_clock(&mut self, now: UnixSeconds) {
        self.clock = now;
    }

    /// Rules have stopped counting at `now`, or count again: they may be about names.
    pub fn look_at_expiries(&mut self, now: UnixSeconds) {
        self.clock = now;
        self.note_names();
    }

    /// Gathers the names in the rules that are in effect.
    #[inline(never)]
    fn note_names(&mut self) {
        // Which names are refused depends on the time.
        let clock = self.clock;
        self.for_all_names(&mut |_, names| names.set_clock(clock));
        let from_file = self.sections != SectionsOf::QubesDb;
        let file = self.default.iter().chain(self.clients.iter().map(|(_, section)| section));
        let live = self.live.clients.sections().map(|(_, section)| section);
        let sections = file.filter(|_| from_file).chain(live.filter(|_| !from_file));
        let names = wanted_names(self.live.base.rules.names(), sections.filter_map(Section::names));
        self.names.set_names(names);
        self.for_all_names(&mut |known, names| names.count_unknown(|host| known.is_known(host)));
    }

    /// Calls this with what names stand for and with the names in each list of rules, to note what becomes known of them.
    #[inline(never)]
    fn for_all_names(&mut self, note: &mut dyn FnMut(&NameAddresses, &mut RuleNames)) {
        let file = self.default.iter_mut().chain(self.clients.iter_mut().map(|(_, section)| section));
        let file = file.filter_map(Section::names_mut);
        let base = core::iter::once(self.live.base.rules.names_mut());
        let all = base.chain(file).chain(self.live.clients.names_mut());
        all.for_each(|names| note(&self.names, names));
    }

    /// Takes up live rules.
    pub fn update(&mut self, update: RuleUpdate) {
        let is_of_clients = matches!(update, RuleUpdate::Clients(_));
        self.live.update(update);
        self.note_names();
        if !is_of_clients {
            self.join_forwards();
            self.note_expiries();
        }
    }

    /// Sections of the rule file.
    pub const fn file_sections(&self) -> usize {
        self.clients.len() + self.default.is_some() as usize
    }

    fn join_forwards(&mut self) {
        let mut forwards = self.live.forwards.rules.clone();
        for forward in self.own_forwards.iter() {
            forwards.add_rest(forward);
        }
        self.forwards = forwards;
    }

    fn note_expiries(&mut self) {
        let sections = self.default.iter().chain(self.clients.iter().map(|(_, section)| section));
        let own = sections.flat_map(Section::expiries).chain(self.permits.expiries());
        let mut ends: Vec<UnixSeconds> = own.chain(self.live.expiries()).collect();
        sort_by_key(&mut ends, |end| end.0);
        ends.dedup();
        self.expiries = ends.into();
    }

    fn arrange(&mut self, mut clients: Vec<(Ipv4Prefix, Section)>) {
        for (network, _) in &mut clients {
            *network = network.network();
        }
        // The sort is stable: of equals the last written comes last.
        sort_by_network(&mut clients, |(network, _)| *network);
        clients.reverse();
        clients.dedup_by_key(|(network, _)| *network);
        clients.reverse();
        let networks: Box<[Ipv4Prefix]> = clients.iter().map(|(network, _)| *network).collect();
        self.prefixes = PrefixIndex::new(&networks);
        self.clients = clients;
        self.note_expiries();
        let sections = self.default.iter().chain(self.clients.iter().map(|(_, section)| section));
        let ids = sections.flat_map(Section::ids).chain(self.permits.ids()).chain(self.own_forwards.ids());
        self.hits = self.hits.for_rules(&mut { ids });
        self.note_names();
    }

    fn section_of(&self, client: Ipv4Addr) -> Option<&Section> {
        match self.sections {
            SectionsOf::QubesDb => self.live.clients.of(client).map(|own| &own.section),
            SectionsOf::File => {
                let place = self.prefixes.containing(client).next();
                let own = place.and_then(|place| self.clients.get(place));
                own.map(|(_, section)| section).or(self.default.as_ref())
            }
            SectionsOf::Nobody => self.default.as_ref(),
        }
    }

    /// Whether nobody may begin a flow to this client. In a qube nothing is known of one whose rules have not come yet, or
    /// that there was no room for: they may be wrong.
    fn is_blocked(&self, client: Ipv4Addr, age: FlowAge) -> bool {
        let section = self.section_of(client);
        section.map_or(self.sections == SectionsOf::QubesDb, |section| section.is_blocked(age))
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
