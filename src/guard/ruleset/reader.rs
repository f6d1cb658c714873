//! Reads a rule file line by line.

use super::forward_line;
use super::permit_line::{self, PermitFault};
use super::problem::{Consequence, Problem, ProblemPlace, Problems, RuleFileMistake, SectionName};
use super::section_draft::SectionDraft;
use crate::base::prefix::Ipv4Prefix;
use crate::base::text::{Column, Excerpt, Word, Words, words};
use crate::guard::compiled::{Compiled, CompiledRule};
use crate::guard::forward::{PortForwards, PortOverlap};
use crate::guard::permit::Permit;
use crate::guard::rule::{Rule, RuleAction};
use crate::guard::rule_id::RuleId;
use crate::guard::rule_texts::RuleTexts;
use crate::guard::section::Policy;
use crate::guard::table::{RuleTable, RuleTableParts};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::Ipv4Addr;

/// Rules that a file may have in all. It bounds the memory they take: 80 to 260 bytes each once arranged, up to
/// 420 while the file is read, and there its name if it has one (calculated; the most with one section per rule).
pub const MAX_RULES: usize = 32_768;

/// Whose rules the present line belongs to.
#[derive(Clone, Copy)]
enum CurrentSection {
    /// Before the first header.
    Nowhere,
    /// `[default]` or `[client …]`: the draft at that index.
    Section(usize),
    Permit,
    Forward,
    /// After a header that cannot be read: everything is blocked already, its lines mean nothing.
    Lost,
}

/// The state of reading a rule file.
pub(super) struct RuleReader<'r> {
    resolvers: &'r [Ipv4Addr],
    line: u32,
    section: CurrentSection,
    drafts: Vec<SectionDraft>,
    /// Indexes of the drafts, in the order of their names.
    by_name: Vec<u32>,
    permits: Vec<Permit>,
    /// Set by a permit line that cannot be placed: none of the later ones is in effect.
    permits_ended: bool,
    forwards: PortForwards,
    texts: RuleTexts,
    rules: usize,
    unreadable: bool,
    problems: Problems,
}

impl<'r> RuleReader<'r> {
    pub(super) fn new(resolvers: &'r [Ipv4Addr]) -> Self {
        Self {
            resolvers,
            line: 0,
            section: CurrentSection::Nowhere,
            drafts: Vec::new(),
            by_name: Vec::new(),
            permits: Vec::new(),
            permits_ended: false,
            forwards: PortForwards::default(),
            texts: RuleTexts::EMPTY,
            rules: 0,
            unreadable: false,
            problems: Problems::default(),
        }
    }

    fn report(&mut self, column: Column, mistake: RuleFileMistake, consequence: Consequence) {
        self.unreadable |= consequence == Consequence::EverythingBlocked;
        let at = ProblemPlace::Rule(self.id());
        self.problems.add(Problem { at, column, mistake, consequence });
    }

    /// Reports a file that is text only as far as `before`.
    pub(super) fn not_utf8(&mut self, before: &[u8]) {
        let before = core::str::from_utf8(before).unwrap_or_default();
        self.line = u32::try_from(before.split('\n').count()).unwrap_or(u32::MAX);
        let column = Column(before.rsplit('\n').next().unwrap_or_default().chars().count() + 1);
        self.report(column, RuleFileMistake::NotUtf8, Consequence::EverythingBlocked);
    }

    /// Reads all lines.
    pub(super) fn text(&mut self, text: &str) {
        // Editors may put a byte order mark in front, loaders may fill the last page with zeros.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches('\0');
        for line in text.split('\n') {
            self.line += 1;
            let line = line.split('#').next().unwrap_or_default();
            let mut rest = words(line);
            let Some(first) = rest.peek() else { continue };
            if first.text.starts_with('[') {
                self.texts.begin_section(line.trim_ascii());
                self.header(line.trim_ascii(), first.column);
                continue;
            }
            match self.section {
                CurrentSection::Nowhere => {
                    let mistake = RuleFileMistake::OutsideSection(Excerpt::of(first.text));
                    self.report(first.column, mistake, Consequence::EverythingBlocked);
                    self.section = CurrentSection::Lost;
                }
                CurrentSection::Lost => continue,
                CurrentSection::Section(index) => self.section_line(index, first, rest),
                CurrentSection::Permit => self.permit_line(rest),
                CurrentSection::Forward => self.forward_line(rest),
            }
            self.texts.add(self.id(), line.trim_ascii());
            self.rules += 1;
            if self.rules > MAX_RULES {
                return self.report(
                    first.column,
                    RuleFileMistake::TooManyRules { most: MAX_RULES },
                    Consequence::EverythingBlocked,
                );
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
                self.section = CurrentSection::Permit;
                return;
            }
            (Some("forward"), None, None) => {
                self.section = CurrentSection::Forward;
                return;
            }
            _ => None,
        };
        let Some(name) = name else {
            self.report(
                column,
                RuleFileMistake::UnknownHeader(Excerpt::of(header)),
                Consequence::EverythingBlocked,
            );
            self.section = CurrentSection::Lost;
            return;
        };
        let index = self.draft_of(name);
        self.section = CurrentSection::Section(index);
        match self.drafts.get(index).map(|draft| draft.first_line) {
            Some(first_line) => self.block(index, column, RuleFileMistake::RepeatedSection { first_line }),
            None => self.drafts.push(SectionDraft::new(name, self.line)),
        }
    }

    /// The index of the section of this name, or that of the next draft.
    fn draft_of(&mut self, name: SectionName) -> usize {
        let order = |index: &u32| {
            self.drafts.get(*index as usize).map_or(Ordering::Less, |draft| draft.name.cmp(&name))
        };
        match self.by_name.binary_search_by(order) {
            Ok(place) => self.by_name.get(place).map_or(self.drafts.len(), |index| *index as usize),
            Err(place) => {
                self.by_name.insert(place, self.drafts.len() as u32);
                self.drafts.len()
            }
        }
    }

    /// Reports a mistake in a section, which blocks it.
    fn block(&mut self, index: usize, column: Column, mistake: RuleFileMistake) {
        if let Some(draft) = self.drafts.get_mut(index) {
            draft.block();
            let consequence = Consequence::SectionBlocked(draft.name);
            self.report(column, mistake, consequence);
        }
    }

    /// The rule on the present line.
    const fn id(&self) -> RuleId {
        RuleId::in_file(self.line)
    }

    /// Reads the line `rest`, which begins with `first`.
    fn section_line(&mut self, index: usize, first: Word<'_>, rest: Words<'_>) {
        if let Some((key, value)) = first.split_key()
            && key.text == "policy"
        {
            return self.policy(index, value, rest);
        }
        let (rule, columns) = match Rule::from_words(rest, self.id()) {
            Ok(read) => read,
            Err(error) => return self.block(index, error.column, RuleFileMistake::Rule(error.mistake)),
        };
        let (compiled, obstacle) = match CompiledRule::from_rule(&rule, self.resolvers) {
            Compiled::Ready(rule) => (Some(rule), None),
            Compiled::NeverMatches(rule, obstacle) => (Some(rule), Some(obstacle)),
            Compiled::Blocks(obstacle) => (None, Some(obstacle)),
        };
        if let Some(obstacle) = obstacle {
            let column = columns.of(obstacle.key()).unwrap_or(first.column);
            let mistake = RuleFileMistake::Obstacle(obstacle);
            match compiled {
                Some(_) => self.report(column, mistake, Consequence::RuleNeverMatches),
                None => self.block(index, column, mistake),
            }
        }
        if let (Some(draft), Some(rule)) = (self.drafts.get_mut(index), compiled) {
            draft.add(rule);
        }
    }

    /// Reads the `value` of `policy=`, the first word of the line `rest`.
    fn policy(&mut self, index: usize, value: Word<'_>, mut rest: Words<'_>) {
        let action = RuleAction::from_text(value.text).filter(|_| rest.nth(1).is_none());
        let Some(action) = action else {
            return self.block(index, value.column, RuleFileMistake::Policy(Excerpt::of(value.text)));
        };
        let policy = Policy { action, id: Some(self.id()) };
        let before = self.drafts.get_mut(index).and_then(|draft| draft.policy.replace(policy));
        if before.is_some() {
            self.block(index, value.column, RuleFileMistake::RepeatedPolicy);
        }
    }

    fn permit_line(&mut self, rest: Words<'_>) {
        let permit = match permit_line::read(rest, self.id()) {
            Ok(permit) => permit,
            Err(PermitFault { column, mistake, between }) => {
                let consequence = match between {
                    Some((from, to)) => Consequence::Refused { from, to },
                    None => Consequence::PermitsEnd,
                };
                self.report(column, mistake, consequence);
                match between {
                    Some((from, to)) => permit_line::refusal(self.id(), from, to),
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

    fn forward_line(&mut self, mut rest: Words<'_>) {
        let first = rest.column();
        let added = forward_line::read(rest, self.id()).and_then(|forward| {
            self.forwards.add(forward).map_err(|PortOverlap| (first, RuleFileMistake::PortTaken))
        });
        if let Err((column, mistake)) = added {
            self.report(column, mistake, Consequence::NotForwarded);
        }
    }

    /// The table that was read, and what is wrong with it.
    pub(super) fn finish(self) -> (RuleTable, Problems) {
        if self.unreadable {
            return (RuleTable::block_all(), self.problems);
        }
        let mut parts = RuleTableParts {
            permits: self.permits,
            forwards: self.forwards,
            texts: Some(self.texts),
            ..RuleTableParts::default()
        };
        for draft in self.drafts {
            let (name, section) = (draft.name, draft.finish());
            match name {
                SectionName::Default => parts.default = Some(section),
                SectionName::Client(network) => parts.clients.push((network, section)),
            }
        }
        (RuleTable::new(parts), self.problems)
    }
}
