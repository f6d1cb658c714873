//! The rules of one client, as QubesDB has them: `policy` is `accept` or `drop`, and a rule is under each number.
//!
//! A mistake anywhere blocks the client, as does a missing policy.

use super::problem::{Consequence, Problem, ProblemPlace, Problems, RuleFileMistake};
use crate::base::text::{Column, Excerpt, decimal, words};
use crate::guard::client_section::ClientSection;
use crate::guard::compiled::{Compiled, CompiledRule};
use crate::guard::keyed_lines::KeyedLines;
use crate::guard::rule::{Rule, RuleAction};
use crate::guard::rule_id::{RuleId, RuleSource};
use crate::guard::rule_texts::RuleTexts;
use crate::guard::section::{Policy, Section};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The key of a client's policy.
const POLICY: &str = "policy";

/// Digits of a rule's key.
const DIGITS: usize = 4;

/// A mistake that blocks the client.
struct Blocked(Problem);

/// Makes a client's rules ready. `resolvers` are the addresses that `specialtarget=dns` stands for.
pub fn read_client(
    client: Ipv4Addr,
    lines: &KeyedLines,
    resolvers: &[Ipv4Addr],
    problems: &mut Problems,
) -> ClientSection {
    let mut reader = ClientReader {
        client,
        resolvers,
        policy: None,
        rules: Vec::new(),
        texts: RuleTexts::EMPTY,
        problems,
    };
    match lines.iter().try_for_each(|(key, line)| reader.line(key, line)).and_then(|()| reader.finish()) {
        Ok(section) => section,
        Err(Blocked(problem)) => {
            problems.add(problem);
            ClientSection::blocked(client)
        }
    }
}

struct ClientReader<'r> {
    client: Ipv4Addr,
    resolvers: &'r [Ipv4Addr],
    policy: Option<RuleAction>,
    rules: Vec<CompiledRule>,
    texts: RuleTexts,
    problems: &'r mut Problems,
}

impl ClientReader<'_> {
    const fn id(&self, line: u32) -> RuleId {
        RuleId { source: RuleSource::Client(self.client), line }
    }

    const fn blocked(&self, at: ProblemPlace, column: Column, mistake: RuleFileMistake) -> Blocked {
        Blocked(Problem { at, column, mistake, consequence: Consequence::ClientBlocked(self.client) })
    }

    fn line(&mut self, key: &str, line: &str) -> Result<(), Blocked> {
        if key == POLICY {
            let id = self.id(RuleId::POLICY);
            let mistake = || RuleFileMistake::Policy(Excerpt::of(line));
            let action = RuleAction::from_text(line)
                .ok_or_else(|| self.blocked(ProblemPlace::Rule(id), Column(1), mistake()))?;
            self.policy = Some(action);
            self.texts.add(id, line);
            return Ok(());
        }
        let number = decimal(key).filter(|_| key.len() == DIGITS).ok_or_else(|| {
            let mistake = RuleFileMistake::UnknownRule(Excerpt::of(key));
            self.blocked(ProblemPlace::Rules(self.client), Column(1), mistake)
        })?;
        self.rule(self.id(number), line)
    }

    fn rule(&mut self, id: RuleId, line: &str) -> Result<(), Blocked> {
        let at = ProblemPlace::Rule(id);
        let (rule, columns) = match Rule::from_words(words(line), id) {
            Ok(read) => read,
            Err(error) => return Err(self.blocked(at, error.column, RuleFileMistake::Rule(error.mistake))),
        };
        let rule = match CompiledRule::from_rule(&rule, self.resolvers) {
            Compiled::Ready(rule) => rule,
            Compiled::NeverMatches(rule, obstacle) => {
                let column = columns.of(obstacle.key()).unwrap_or(Column(1));
                let (mistake, consequence) =
                    (RuleFileMistake::Obstacle(obstacle), Consequence::RuleNeverMatches);
                self.problems.add(Problem { at, column, mistake, consequence });
                rule
            }
            Compiled::Blocks(obstacle) => {
                let column = columns.of(obstacle.key()).unwrap_or(Column(1));
                return Err(self.blocked(at, column, RuleFileMistake::Obstacle(obstacle)));
            }
        };
        self.rules.push(rule);
        self.texts.add(id, line);
        Ok(())
    }

    fn finish(&self) -> Result<ClientSection, Blocked> {
        let action = self.policy.ok_or_else(|| {
            self.blocked(ProblemPlace::Rules(self.client), Column(1), RuleFileMistake::NoPolicy)
        })?;
        let policy = Policy { action, id: Some(self.id(RuleId::POLICY)) };
        Ok(ClientSection::new(self.client, Section::new(&self.rules, policy), &self.texts))
    }
}
