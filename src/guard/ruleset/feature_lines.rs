//! Lines that a person wrote into features of the qube (`vm-config.ravelin-base-…`, `-permit-…`, `-forward-…`), in the order
//! of their names. They are written as in the rule file.
//!
//! An empty one is as if it were not there. A wrong base line refuses everything at its place; what a wrong permit and a
//! wrong forward mean is as in the file.

use super::forward_line;
use super::permit_line::{self, PermitFault};
use super::problem::{Consequence, Problem, ProblemPlace, Problems, RuleFileMistake};
use crate::base::prefix::Ipv4Prefix;
use crate::base::text::{Column, Excerpt, Words, words};
use crate::guard::compiled::{Compiled, CompiledRule};
use crate::guard::forward::{PortForwards, PortOverlap};
use crate::guard::keyed_lines::KeyedLines;
use crate::guard::permit::Permit;
use crate::guard::rule::Rule;
use crate::guard::rule_id::{RuleId, RuleSource};
use crate::guard::rule_texts::RuleTexts;
use crate::guard::rule_update::{LinesUpdate, RuleUpdate};
use core::net::Ipv4Addr;

/// What features of the qube say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureLines {
    /// Rules for all clients, which are asked before each one's own.
    Base,
    /// Rules between clients, which are asked before those of the rule file.
    Permit,
    /// Ports that lead to clients, which go before those of the rule file.
    Forward,
}

impl FeatureLines {
    /// How the names of these features begin.
    pub const fn feature(self) -> &'static str {
        match self {
            Self::Base => "vm-config.ravelin-base",
            Self::Permit => "vm-config.ravelin-permit",
            Self::Forward => "vm-config.ravelin-forward",
        }
    }
}

/// Makes the lines of one kind ready. `resolvers` are the addresses that `specialtarget=dns` stands for.
pub fn read_lines(
    kind: FeatureLines,
    lines: &KeyedLines,
    resolvers: &[Ipv4Addr],
    problems: &mut Problems,
) -> RuleUpdate {
    let mut texts = RuleTexts::EMPTY;
    let source = match kind {
        FeatureLines::Base => RuleSource::Base,
        FeatureLines::Permit => RuleSource::Permit,
        FeatureLines::Forward => RuleSource::Forward,
    };
    let written = lines.iter().filter(|(_, line)| !line.trim_ascii().is_empty());
    let mut lines = (1..).map(|line| RuleId { source, line }).zip(written);
    let mut lines = core::iter::from_fn(|| {
        let (id, (name, line)) = lines.next()?;
        texts.add(id, line);
        Some(FeatureLine { id, name, line })
    });
    let update = match kind {
        FeatureLines::Base => {
            LinesUpdate::Base(lines.map(|line| base_rule(&line, resolvers, problems)).collect())
        }
        FeatureLines::Permit => LinesUpdate::Permits(lines.map(|line| permit(&line, problems)).collect()),
        FeatureLines::Forward => {
            let mut forwards = PortForwards::default();
            lines.by_ref().for_each(|line| forward(&line, &mut forwards, problems));
            LinesUpdate::Forwards(forwards)
        }
    };
    RuleUpdate::Lines(update, texts)
}

/// One of them.
struct FeatureLine<'t> {
    id: RuleId,
    name: &'t str,
    line: &'t str,
}

impl FeatureLine<'_> {
    fn words(&self) -> Words<'_> {
        words(self.line)
    }

    fn problem(&self, column: Column, mistake: RuleFileMistake, consequence: Consequence) -> Problem {
        Problem { at: ProblemPlace::Feature(Excerpt::of(self.name)), column, mistake, consequence }
    }

    /// What is in effect in the place of a line that is wrong.
    fn refusal(&self, from: Ipv4Prefix, to: Ipv4Prefix) -> Permit {
        permit_line::refusal(self.id, from, to)
    }
}

const EVERYTHING: Ipv4Prefix = Ipv4Prefix::EVERYTHING;

fn base_rule(line: &FeatureLine<'_>, resolvers: &[Ipv4Addr], problems: &mut Problems) -> CompiledRule {
    let (rule, columns) = match Rule::from_words(line.words(), line.id) {
        Ok(read) => read,
        Err(error) => {
            let mistake = RuleFileMistake::Rule(error.mistake);
            problems.add(line.problem(error.column, mistake, Consequence::BaseRefuses));
            return line.refusal(EVERYTHING, EVERYTHING).rule;
        }
    };
    let (compiled, obstacle) = match CompiledRule::from_rule(&rule, resolvers) {
        Compiled::Ready(rule) => return rule,
        Compiled::NeverMatches(rule, obstacle) => (Some(rule), obstacle),
        Compiled::Blocks(obstacle) => (None, obstacle),
    };
    let consequence = match compiled {
        Some(_) => Consequence::RuleNeverMatches,
        None => Consequence::BaseRefuses,
    };
    let column = columns.of(obstacle.key()).unwrap_or(Column(1));
    problems.add(line.problem(column, RuleFileMistake::Obstacle(obstacle), consequence));
    compiled.unwrap_or_else(|| line.refusal(EVERYTHING, EVERYTHING).rule)
}

fn permit(line: &FeatureLine<'_>, problems: &mut Problems) -> Permit {
    permit_line::read(line.words(), line.id).unwrap_or_else(|PermitFault { column, mistake, between }| {
        let consequence = match between {
            Some((from, to)) => Consequence::Refused { from, to },
            None => Consequence::PermitsEnd,
        };
        problems.add(line.problem(column, mistake, consequence));
        let (from, to) = between.unwrap_or((EVERYTHING, EVERYTHING));
        line.refusal(from, to)
    })
}

fn forward(line: &FeatureLine<'_>, forwards: &mut PortForwards, problems: &mut Problems) {
    let first = line.words().column();
    let added = forward_line::read(line.words(), line.id)
        .and_then(|forward| forwards.add(forward).map_err(|PortOverlap| (first, RuleFileMistake::PortTaken)));
    if let Err((column, mistake)) = added {
        problems.add(line.problem(column, mistake, Consequence::NotForwarded));
    }
}
