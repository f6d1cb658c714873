//! The static rule file: text in, [`RuleTable`] out, and every mistake told with line and column.
//!
//! ```text
//! [default]                       # clients without a section of their own
//! policy=drop                     # when no rule matches; drop if not said
//! action=accept specialtarget=dns
//! [client 10.137.0.0/24]          # an address or a network; the most specific section counts as a whole
//! action=accept
//! [permit]                        # client to client; denied otherwise
//! from=10.137.0.5 to=10.137.0.6 action=accept proto=tcp dstports=22-22
//! [forward]                       # uplink port to a client
//! proto=tcp dstports=8080-8080 to=10.137.0.6:80
//! ```
//!
//! UTF-8; `#` begins a comment; lines end in LF or CRLF. `[default]` and each `[client]` come once, `[permit]` and
//! `[forward]` as often as wanted. Rules are those of [`super::rule`].
//!
//! It never fails open. A mistake in a section blocks the clients of that section, and nobody else. A wrong
//! `[permit]` line stands for a refusal at its place: between its `from=` and `to=` when these can be read,
//! otherwise of everything, so that no later line permits what it may have been meant to refuse. A wrong
//! `[forward]` line forwards nothing. What makes it doubtful which clients are meant (a header that cannot be
//! read, lines before the first header, bytes that are not UTF-8, too many rules) blocks everything.

mod forward_line;
mod permit_line;
pub mod problem;

use super::compiled::{Compiled, CompiledRule, Obstacle};
use super::forward::PortForwards;
use super::permit::Permit;
use super::rule::{Action, Origin, Rule};
use super::section::Section;
use super::table::{Parts, RuleTable};
use crate::base::prefix::Ipv4Prefix;
use crate::base::text::{Column, Excerpt, Word, words};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use permit_line::PermitFault;
use problem::{Consequence, Mistake, Problem, Problems, SectionName};

/// Rules that a file may have in all. It bounds the memory they take: 50 to 230 bytes each once arranged, up to
/// 400 while the file is read (measured; the most with one section per rule).
pub const MAX_RULES: usize = 32_768;

/// Reads a rule file. `resolvers` are the addresses that `specialtarget=dns` stands for.
///
/// The table is in effect as it is, whatever the problems: they say what it refuses because of them.
pub fn read(file: &[u8], resolvers: &[Ipv4Addr]) -> (RuleTable, Problems) {
    let mut reader = Reader::new(resolvers);
    match core::str::from_utf8(file) {
        Ok(text) => reader.text(text),
        Err(error) => {
            let (before, _) = file.split_at_checked(error.valid_up_to()).unwrap_or((file, &[]));
            reader.not_utf8(before);
        }
    }
    reader.finish()
}

/// Whose rules the present line belongs to.
#[derive(Clone, Copy)]
enum Place {
    /// Before the first header.
    Nowhere,
    /// `[default]` or `[client …]`: the draft at that index.
    Section(usize),
    Permit,
    Forward,
    /// After a header that cannot be read: everything is blocked already, its lines mean nothing.
    Lost,
}

/// A section as far as it is read.
struct Draft {
    name: SectionName,
    first_line: usize,
    rules: Vec<CompiledRule>,
    policy: Option<Action>,
    blocked: bool,
}

struct Reader<'r> {
    resolvers: &'r [Ipv4Addr],
    line: usize,
    place: Place,
    drafts: Vec<Draft>,
    /// Indexes of the drafts.
    by_name: BTreeMap<SectionName, usize>,
    permits: Vec<Permit>,
    /// Set by a permit line that cannot be placed: none of the later ones is in effect.
    permits_ended: bool,
    forwards: PortForwards,
    rules: usize,
    unreadable: bool,
    problems: Problems,
}

impl<'r> Reader<'r> {
    fn new(resolvers: &'r [Ipv4Addr]) -> Self {
        Self {
            resolvers,
            line: 0,
            place: Place::Nowhere,
            drafts: Vec::new(),
            by_name: BTreeMap::new(),
            permits: Vec::new(),
            permits_ended: false,
            forwards: PortForwards::default(),
            rules: 0,
            unreadable: false,
            problems: Problems::default(),
        }
    }

    fn report(&mut self, column: Column, mistake: Mistake, consequence: Consequence) {
        self.unreadable |= consequence == Consequence::EverythingBlocked;
        self.problems.add(Problem { line: self.line, column, mistake, consequence });
    }

    fn not_utf8(&mut self, before: &[u8]) {
        let before = core::str::from_utf8(before).unwrap_or_default();
        self.line = before.split('\n').count();
        let column = Column(before.rsplit('\n').next().unwrap_or_default().chars().count() + 1);
        self.report(column, Mistake::NotUtf8, Consequence::EverythingBlocked);
    }

    fn text(&mut self, text: &str) {
        // Editors may put a byte order mark in front, loaders may fill the last page with zeros.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches('\0');
        for line in text.split('\n') {
            self.line += 1;
            let line = line.split('#').next().unwrap_or_default();
            let Some(first) = words(line).next() else { continue };
            if first.text.starts_with('[') {
                self.header(line.trim_ascii(), first.column);
                continue;
            }
            match self.place {
                Place::Nowhere => {
                    let mistake = Mistake::OutsideSection(Excerpt::of(first.text));
                    self.report(first.column, mistake, Consequence::EverythingBlocked);
                    self.place = Place::Lost;
                }
                Place::Lost => continue,
                Place::Section(index) => self.section_line(index, line, first),
                Place::Permit => self.permit_line(line),
                Place::Forward => self.forward_line(line),
            }
            self.rules += 1;
            if self.rules > MAX_RULES {
                return self.report(first.column, Mistake::TooManyRules, Consequence::EverythingBlocked);
            }
        }
    }

    /// Reads `[…]`; `column` is that of the bracket.
    fn header(&mut self, header: &str, column: Column) {
        let inner = header.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
        let mut parts = words(inner).map(|word| word.text);
        let name = match (parts.next(), parts.next(), parts.next()) {
            (Some("default"), None, None) => Some(SectionName::Default),
            (Some("client"), Some(client), None) => {
                client.parse().ok().map(|prefix: Ipv4Prefix| SectionName::Client(prefix.network()))
            }
            (Some("permit"), None, None) => {
                self.place = Place::Permit;
                return;
            }
            (Some("forward"), None, None) => {
                self.place = Place::Forward;
                return;
            }
            _ => None,
        };
        let Some(name) = name else {
            self.report(column, Mistake::UnknownHeader(Excerpt::of(header)), Consequence::EverythingBlocked);
            self.place = Place::Lost;
            return;
        };
        let next = self.drafts.len();
        let index = *self.by_name.entry(name).or_insert(next);
        self.place = Place::Section(index);
        if let Some(first_line) = self.drafts.get(index).map(|draft| draft.first_line) {
            return self.block(index, column, Mistake::RepeatedSection { first_line });
        }
        let first_line = self.line;
        self.drafts.push(Draft { name, first_line, rules: Vec::new(), policy: None, blocked: false });
    }

    /// Reports a mistake in a section, which blocks it.
    fn block(&mut self, index: usize, column: Column, mistake: Mistake) {
        if let Some(draft) = self.drafts.get_mut(index) {
            draft.blocked = true;
            draft.rules = Vec::new();
            let consequence = Consequence::SectionBlocked(draft.name);
            self.report(column, mistake, consequence);
        }
    }

    fn section_line(&mut self, index: usize, line: &str, first: Word<'_>) {
        if let Some((key, value)) = first.split_key()
            && key.text == "policy"
        {
            return self.policy(index, line, value);
        }
        let rule = match Rule::parse(line, Origin::File) {
            Ok(rule) => rule,
            Err(error) => return self.block(index, error.column, Mistake::Rule(error.problem)),
        };
        match CompiledRule::from_rule(&rule, self.resolvers) {
            Compiled::Ready(rule) => {
                if let Some(draft) = self.drafts.get_mut(index).filter(|draft| !draft.blocked) {
                    draft.rules.push(rule);
                }
            }
            Compiled::NeverMatches(_, obstacle) => {
                let column = column_of(line, obstacle);
                self.report(column, Mistake::Obstacle(obstacle), Consequence::RuleNeverMatches);
            }
            Compiled::Blocks(obstacle) => {
                self.block(index, column_of(line, obstacle), Mistake::Obstacle(obstacle));
            }
        }
    }

    fn policy(&mut self, index: usize, line: &str, value: Word<'_>) {
        let said = Action::from_text(value.text).filter(|_| words(line).count() == 1);
        let Some(said) = said else {
            return self.block(index, value.column, Mistake::Policy(Excerpt::of(value.text)));
        };
        let before = self.drafts.get_mut(index).and_then(|draft| draft.policy.replace(said));
        if before.is_some() {
            self.block(index, value.column, Mistake::RepeatedPolicy);
        }
    }

    fn permit_line(&mut self, line: &str) {
        let permit = match permit_line::read(line) {
            Ok(permit) => permit,
            Err(PermitFault { column, mistake, between }) => {
                let consequence = match between {
                    Some((from, to)) => Consequence::Refused { from, to },
                    None => Consequence::PermitsEnd,
                };
                self.report(column, mistake, consequence);
                match between {
                    Some((from, to)) => permit_line::refusal(from, to),
                    None => {
                        self.permits_ended = true;
                        return;
                    }
                }
            }
        };
        if !self.permits_ended {
            self.permits.push(permit);
        }
    }

    fn forward_line(&mut self, line: &str) {
        let first = words(line).next().map_or(Column(1), |word| word.column);
        let added = forward_line::read(line)
            .and_then(|forward| self.forwards.add(forward).map_err(|_| (first, Mistake::PortTaken)));
        if let Err((column, mistake)) = added {
            self.report(column, mistake, Consequence::NotForwarded);
        }
    }

    fn finish(self) -> (RuleTable, Problems) {
        if self.unreadable {
            return (RuleTable::block_all(), self.problems);
        }
        let mut parts = Parts { permits: self.permits, forwards: self.forwards, ..Parts::default() };
        for draft in self.drafts {
            let section = if draft.blocked {
                Section::BLOCKED
            } else {
                Section::new(&draft.rules, draft.policy.unwrap_or(Action::Drop))
            };
            match draft.name {
                SectionName::Default => parts.default = Some(section),
                SectionName::Client(network) => parts.clients.push((network, section)),
            }
        }
        (RuleTable::new(parts), self.problems)
    }
}

/// Where the key is that an obstacle comes from.
fn column_of(line: &str, obstacle: Obstacle) -> Column {
    let key = match obstacle {
        Obstacle::WrongFamily => "dst6=",
        Obstacle::UnresolvedName => "dsthost=",
        Obstacle::NoResolver => "specialtarget=",
    };
    let word = words(line).find(|word| word.text.starts_with(key));
    word.map_or(Column(1), |word| word.column)
}

#[cfg(test)]
mod tests;
