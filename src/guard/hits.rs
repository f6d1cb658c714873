//! How often each rule decided whether a flow may begin.
//!
//! Counted once per packet that asks for it, so what belongs to a flow costs nothing. O(log n) for n rules.

use super::rule_id::RuleId;
use super::rule_texts::{RuleTexts, TextDigest};
use super::ruling::RuledBy;
use crate::base::bug::OrBug;
use crate::base::sort::sort_by_key;
use crate::base::text::counts;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Rules whose count is told each; of the others the sum is.
const MAX_TOLD: usize = 32;

/// A rule's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RuleHit {
    id: RuleId,
    /// What the rule says; that of no text, if it was not read from one.
    text: TextDigest,
    count: u64,
}

/// The counts of all rules of a table.
#[derive(Clone, Debug, Default)]
pub struct RuleHits {
    /// In the order of the ids, none twice.
    rules: Box<[RuleHit]>,
    /// What all rules say, if they were read from a text.
    whole: Option<TextDigest>,
    no_rule: u64,
    blocked: u64,
}

impl RuleHits {
    /// The counts of these rules: as they are, of rules that were there before.
    pub(super) fn for_rules(&self, ids: &mut dyn Iterator<Item = RuleId>) -> Self {
        let new = |id| RuleHit { id, text: TextDigest::default(), count: 0 };
        let mut rules: Vec<RuleHit> =
            ids.map(|id| self.find(id).copied().unwrap_or_else(|| new(id))).collect();
        sort_by_key(&mut rules, |rule| rule.id.order());
        rules.dedup_by_key(|rule| rule.id);
        Self { rules: rules.into(), ..*self }
    }

    /// Notes what the rules say.
    pub(super) fn note_texts(&mut self, texts: &RuleTexts) {
        self.whole = Some(texts.whole());
        for rule in &mut self.rules {
            rule.text = texts.of(rule.id).unwrap_or_default();
        }
    }

    /// Goes on from the counts of a table that this one takes the place of: of the rules that say the same in the same
    /// section, the first of them from the first and so on, and, when nothing else is said either, of what no rule decided.
    pub(super) fn go_on_from(&mut self, before: &Self) {
        let mut known = by_text(&before.rules).into_iter().peekable();
        for (text, rule) in by_text(&self.rules) {
            while known.next_if(|(other, _)| other.order() < text.order()).is_some() {}
            let same = known.next_if(|(other, _)| *other == text);
            let same = same.and_then(|(_, same)| before.rules.get(same));
            if let Some((rule, same)) = self.rules.get_mut(rule).zip(same) {
                rule.count = same.count;
            }
        }
        if self.whole.is_some() && self.whole == before.whole {
            (self.no_rule, self.blocked) = (before.no_rule, before.blocked);
        }
    }

    fn find(&self, id: RuleId) -> Option<&RuleHit> {
        let place = self.rules.binary_search_by_key(&id, |rule| rule.id).ok()?;
        self.rules.get(place)
    }

    /// Counts a ruling.
    pub(super) fn count(&mut self, by: RuledBy) {
        let count = match by {
            RuledBy::Rule(id) => {
                let place = self.rules.binary_search_by_key(&id, |rule| rule.id);
                let rule = place
                    .or_bug("a ruling by a rule that is not in the table")
                    .ok()
                    .and_then(|place| self.rules.get_mut(place));
                rule.map_or(&mut self.no_rule, |rule| &mut rule.count)
            }
            RuledBy::NoRule => &mut self.no_rule,
            RuledBy::BlockedSection => &mut self.blocked,
        };
        *count += 1;
    }

    /// How many packets that asked to begin a flow were judged so.
    pub fn of(&self, by: RuledBy) -> u64 {
        match by {
            RuledBy::Rule(id) => self.find(id).map_or(0, |rule| rule.count),
            RuledBy::NoRule => self.no_rule,
            RuledBy::BlockedSection => self.blocked,
        }
    }

    /// What was counted here and in `others`, for the console: by rule, in the order of the ids, of the rules that decided
    /// most often. None when nothing was; at most [`MAX_TOLD`] rules and their lines, whatever the number of rules.
    pub(super) fn lines<'h>(&'h self, others: impl Iterator<Item = &'h Self>) -> Vec<String> {
        let mut told: Vec<RuleHit> = Vec::new();
        for hits in core::iter::once(self).chain(others) {
            told.extend(hits.rules.iter().filter(|rule| rule.count > 0));
        }
        sort_by_key(&mut told, |rule| u64::MAX - rule.count);
        let others = told.split_off(told.len().min(MAX_TOLD));
        sort_by_key(&mut told, |rule| rule.id.order());
        let mut words = Vec::new();
        words.push((String::from("by no rule"), self.no_rule));
        words.push((String::from("for a blocked section"), self.blocked));
        words.extend(told.iter().map(|rule| (format!("by {}", rule.id), rule.count)));
        let rest = others.iter().map(|rule| rule.count).sum();
        words.push((format!("by {} other rules", others.len()), rest));
        let words = words.iter().filter(|(_, count)| *count > 0);
        counts("judged:", words.map(|(name, count)| (name.as_str(), *count)))
    }
}

/// What rules that were read from a text say, with their places: those that say the same together, in their order.
fn by_text(rules: &[RuleHit]) -> Vec<(TextDigest, usize)> {
    let places = rules.iter().enumerate().filter(|(_, rule)| rule.text != TextDigest::default());
    let mut texts: Vec<_> = places.map(|(place, rule)| (rule.text, place)).collect();
    sort_by_key(&mut texts, |(text, _)| text.order());
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(line: u32) -> RuledBy {
        RuledBy::Rule(RuleId::in_file(line))
    }

    fn hits(lines: core::ops::Range<u32>) -> RuleHits {
        RuleHits::default().for_rules(&mut lines.map(RuleId::in_file).rev())
    }

    #[test]
    fn each_rule_and_what_no_rule_is_about_are_counted_apart() {
        let mut hits = hits(2..5);
        for by in [rule(3), RuledBy::NoRule, rule(3), rule(4), RuledBy::BlockedSection, RuledBy::NoRule] {
            hits.count(by);
        }
        let counted = [rule(2), rule(3), rule(4), rule(5), RuledBy::NoRule, RuledBy::BlockedSection];
        assert_eq!(counted.map(|by| hits.of(by)), [0, 2, 1, 0, 2, 1]);
        assert_eq!(
            hits.lines([].iter()),
            ["judged: 2 by no rule, 1 for a blocked section, 2 by rules:3, 1 by rules:4"]
        );
    }

    #[test]
    fn what_was_not_counted_is_not_told() {
        assert_eq!(hits(1..9).lines([].iter()), [""; 0]);
    }

    #[test]
    fn of_many_rules_those_that_decide_most_are_told_in_few_lines() {
        let mut hits = hits(1..32_769);
        for rule in &mut hits.rules {
            rule.count = if rule.id.line > 32_700 { u64::MAX / 100 } else { 1 };
        }
        (hits.no_rule, hits.blocked) = (u64::MAX, u64::MAX);
        let lines = hits.lines([].iter());
        assert!(lines.len() <= 5 && lines.iter().all(|line| line.len() < 450), "{lines:?}");
        let text = lines.join("\n");
        assert_eq!(text.matches("by rules:327").count(), MAX_TOLD);
        assert!(text.contains("by 32736 other rules"), "{text}");
    }

    #[test]
    fn rules_that_stay_keep_their_counts() {
        let mut hits = hits(1..4);
        [rule(1), rule(3), RuledBy::NoRule].into_iter().for_each(|by| hits.count(by));
        let hits = hits.for_rules(&mut (3..6).map(RuleId::in_file));
        assert_eq!([rule(1), rule(3), rule(5), RuledBy::NoRule].map(|by| hits.of(by)), [0, 1, 0, 1]);
    }
}
