//! What QubesDB last said of rules: the text of each client and of each kind of line, to be compared and compiled again.
//!
//! The clients' may take so much memory, which they share ([`MemoryShares`]). A client whose rules would take more than it may
//! is blocked, and takes nothing from the others. One that is not there is forgotten when another one needs the room: nothing
//! is known of it until its rules are said again. What counts is the text and what comes of it in the rule table.

use crate::base::sort::sort_addresses;
use crate::base::text::Column;
use crate::guard::client_section::ClientSection;
use crate::guard::keyed_lines::KeyedLines;
use crate::guard::rule_update::{ClientUpdate, RuleUpdate};
use crate::guard::ruleset::client_rules::read_client;
use crate::guard::ruleset::feature_lines::read_lines;
use crate::guard::ruleset::problem::{Consequence, Problem, ProblemPlace, Problems, RuleFileMistake};
use crate::tables::memory_shares::MemoryShares;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

pub use crate::guard::ruleset::feature_lines::FeatureLines;
pub use crate::guard::table::SectionsOf;

/// What a rule takes in the table, beside its text: that, and what is below, is measured in `tests/live_rules/cost.rs`.
const RULE_BYTES: usize = 150;

/// What a client takes, beside its rules.
const CLIENT_BYTES: usize = 300;

/// Memory that a domain needs for all else, whatever its size.
const NEEDED_BYTES: u64 = 8 << 20;

/// Of which clients something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of all that there are: the others have no rules any more.
    All,
    /// Of these: the others stay as they are.
    These,
}

/// What is said of the rules of a client.
#[derive(Clone, Copy, Debug)]
pub enum ClientRules<L> {
    /// Lines with their keys, in the order of these: `policy` and four digits.
    Lines(L),
    /// They are no text: it is blocked.
    Unreadable,
    /// They are too large to be held: it is blocked.
    TooLarge,
    /// It has none: nothing is known of it.
    None,
}

/// What is kept of a client's rules.
#[derive(Debug, PartialEq, Eq)]
enum KeptRules {
    /// Nothing was said yet.
    Nothing,
    Lines(KeyedLines),
    NotText,
    TooLarge,
}

impl KeptRules {
    fn bytes(&self) -> usize {
        let rules = match self {
            Self::Lines(lines) => lines.bytes() + lines.count() * RULE_BYTES,
            Self::Nothing | Self::NotText | Self::TooLarge => 0,
        };
        CLIENT_BYTES + rules
    }
}

/// A client that something is said of.
#[derive(Debug)]
struct KeptClient {
    client: Ipv4Addr,
    rules: KeptRules,
}

/// What of the live rules is otherwise, and what is wrong with it.
#[derive(Debug)]
pub struct LiveRulesReport {
    /// What is otherwise.
    pub subject: RulesSubject,
    /// What is wrong with it.
    pub problems: Problems,
}

/// Of which live rules something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesSubject {
    /// Those of clients.
    Clients(ChangedClients),
    /// The lines of one kind, and how many there are now.
    Lines(FeatureLines, usize),
}

/// What of the clients' rules is otherwise, for the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangedClients {
    /// Clients that have other rules.
    pub changed: usize,
    /// Clients that have none any more, or whose rules were forgotten as others need the room.
    pub gone: usize,
    /// Clients that nothing is known of as there are too many of them.
    pub left_out: usize,
}

/// What QubesDB last said.
#[derive(Debug)]
pub struct QubeRules {
    /// By address.
    clients: Vec<KeptClient>,
    memory: MemoryShares,
    /// There was no place for a client, and that was said.
    is_full: bool,
    base: KeyedLines,
    permits: KeyedLines,
    forwards: KeyedLines,
}

impl QubeRules {
    /// Nothing was said yet, to a domain of so much memory.
    pub(super) fn in_domain(memory_bytes: u64) -> Self {
        let budget = (memory_bytes.saturating_sub(NEEDED_BYTES) / 8).clamp(512 << 10, 16 << 20) as usize;
        Self {
            clients: Vec::new(),
            memory: MemoryShares::new(budget),
            is_full: false,
            base: KeyedLines::default(),
            permits: KeyedLines::default(),
            forwards: KeyedLines::default(),
        }
    }

    /// Notes which clients are there; `None` if nobody knows. Returns who has no rules any more as others need the room, in
    /// order.
    pub(super) fn set_present(&mut self, present: Option<Vec<Ipv4Addr>>) -> Vec<Ipv4Addr> {
        self.memory.set_present(present);
        let mut forgotten = Vec::new();
        self.forget(&mut forgotten);
        sort_addresses(&mut forgotten);
        forgotten
    }

    /// Takes out whoever has to go for what others were given.
    #[inline(never)]
    fn forget(&mut self, forgotten: &mut Vec<Ipv4Addr>) {
        while let Some(client) = self.memory.next_to_forget() {
            self.remove(client);
            forgotten.push(client);
        }
    }

    /// Notes what is said of the rules of clients; returns whose are otherwise, in order, and how many clients there was
    /// no place for if that is new.
    pub(super) fn set_clients<'t, L: Iterator<Item = (&'t str, &'t str)>>(
        &mut self,
        scope: Scope,
        said: Vec<(Ipv4Addr, ClientRules<L>)>,
    ) -> (Vec<Ipv4Addr>, usize) {
        let mut changed = Vec::new();
        if scope == Scope::All {
            let mut there: Vec<Ipv4Addr> = said.iter().map(|(client, _)| *client).collect();
            sort_addresses(&mut there);
            let gone = self.clients.iter().map(|kept| kept.client);
            changed.extend(gone.filter(|client| there.binary_search(client).is_err()));
            changed.iter().for_each(|client| self.remove(*client));
        }
        let mut left_out = 0;
        for (client, rules) in said {
            match self.set_client(client, rules) {
                Kept::Otherwise => changed.push(client),
                Kept::Same => {}
                Kept::NoPlace => left_out += 1,
            }
            self.forget(&mut changed);
        }
        sort_addresses(&mut changed);
        changed.dedup();
        let was_full = self.is_full;
        self.is_full = left_out > 0 || was_full && scope == Scope::These;
        (changed, if was_full { 0 } else { left_out })
    }

    fn place(&self, client: Ipv4Addr) -> Result<usize, usize> {
        self.clients.binary_search_by_key(&client, |kept| kept.client)
    }

    /// Whether there are rules of this client.
    pub(super) fn has(&self, client: Ipv4Addr) -> bool {
        self.place(client).is_ok()
    }

    #[inline(never)]
    fn remove(&mut self, client: Ipv4Addr) {
        self.memory.leave(client);
        if let Ok(place) = self.place(client) {
            self.clients.remove(place);
        }
    }

    fn set_client<'t>(
        &mut self,
        client: Ipv4Addr,
        rules: ClientRules<impl Iterator<Item = (&'t str, &'t str)>>,
    ) -> Kept {
        let rules = match rules {
            ClientRules::Lines(mut lines) => {
                KeyedLines::of(&mut lines).map_or(KeptRules::NotText, KeptRules::Lines)
            }
            ClientRules::Unreadable => KeptRules::NotText,
            ClientRules::TooLarge => KeptRules::TooLarge,
            ClientRules::None => {
                let was_there = self.has(client);
                self.remove(client);
                return if was_there { Kept::Otherwise } else { Kept::Same };
            }
        };
        self.memory.hear_of(client);
        let most = self.memory.most(client);
        let place = match self.place(client) {
            Ok(place) => place,
            Err(_) if most < CLIENT_BYTES => {
                self.memory.leave(client);
                return Kept::NoPlace;
            }
            Err(place) => {
                self.clients.insert(place, KeptClient { client, rules: KeptRules::Nothing });
                place
            }
        };
        let Some(kept) = self.clients.get_mut(place) else { return Kept::NoPlace };
        let rules = if rules.bytes() <= most { rules } else { KeptRules::TooLarge };
        let before = core::mem::replace(&mut kept.rules, rules);
        self.memory.hold(client, kept.rules.bytes());
        // One that was just taken in says nothing yet, not even that it has no policy.
        if before == kept.rules { Kept::Same } else { Kept::Otherwise }
    }

    /// Makes the rules of these clients ready, each of which is there once. `resolvers` are the addresses that
    /// `specialtarget=dns` stands for.
    pub(super) fn compile_clients(
        &self,
        clients: &[Ipv4Addr],
        resolvers: &[Ipv4Addr],
        problems: &mut Problems,
    ) -> RuleUpdate {
        let compile = |client: &Ipv4Addr| self.compile_client(*client, resolvers, problems);
        RuleUpdate::Clients(clients.iter().map(compile).collect())
    }

    fn compile_client(
        &self,
        client: Ipv4Addr,
        resolvers: &[Ipv4Addr],
        problems: &mut Problems,
    ) -> ClientUpdate {
        let kept = self.place(client).ok().and_then(|place| self.clients.get(place));
        let mistake = match kept.map(|kept| &kept.rules) {
            None | Some(KeptRules::Nothing) => return ClientUpdate::Gone(client),
            Some(KeptRules::Lines(lines)) => {
                return ClientUpdate::Set(Box::new(read_client(client, lines, resolvers, problems)));
            }
            Some(KeptRules::NotText) => RuleFileMistake::NotText,
            Some(KeptRules::TooLarge) => RuleFileMistake::TooLarge,
        };
        let (at, consequence) = (ProblemPlace::Rules(client), Consequence::ClientBlocked(client));
        problems.add(Problem { at, column: Column(1), mistake, consequence });
        ClientUpdate::Set(Box::new(ClientSection::blocked(client)))
    }

    /// The clients whose rules have `words` in them.
    pub(super) fn clients_that_mention(&self, words: &str) -> Vec<Ipv4Addr> {
        let mention = |rules: &KeptRules| matches!(rules, KeptRules::Lines(lines) if lines.mention(words));
        self.clients.iter().filter(|kept| mention(&kept.rules)).map(|kept| kept.client).collect()
    }

    /// Notes the lines of one kind. Whether they are otherwise.
    pub(super) fn set_lines(&mut self, kind: FeatureLines, lines: KeyedLines) -> bool {
        let kept = match kind {
            FeatureLines::Base => &mut self.base,
            FeatureLines::Permit => &mut self.permits,
            FeatureLines::Forward => &mut self.forwards,
        };
        if *kept == lines {
            return false;
        }
        *kept = lines;
        true
    }

    /// The lines of one kind.
    pub(super) const fn lines(&self, kind: FeatureLines) -> &KeyedLines {
        match kind {
            FeatureLines::Base => &self.base,
            FeatureLines::Permit => &self.permits,
            FeatureLines::Forward => &self.forwards,
        }
    }

    /// Makes the lines of one kind ready.
    pub(super) fn compile_lines(
        &self,
        kind: FeatureLines,
        resolvers: &[Ipv4Addr],
        problems: &mut Problems,
    ) -> RuleUpdate {
        read_lines(kind, self.lines(kind), resolvers, problems)
    }
}

/// What became of what is said of a client.
enum Kept {
    /// It is otherwise than before.
    Otherwise,
    /// It is as before.
    Same,
    /// There are too many clients: nothing is known of it.
    NoPlace,
}
