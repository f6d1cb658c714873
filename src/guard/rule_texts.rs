//! What rules say, as digests: by these the rules that stay are known when all are read anew.

use super::rule_id::RuleId;
use alloc::vec::Vec;
use siphasher::sip::SipHasher13;

/// A digest of a text in its section; by default of none. No more than a count depends on it: it need not withstand
/// whoever writes rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TextDigest(u64);

impl TextDigest {
    /// A number to sort by.
    pub(super) const fn order(self) -> u64 {
        self.0
    }

    /// That of `text` behind what this one is of.
    fn then(self, text: &str) -> Self {
        Self(SipHasher13::new_with_keys(self.0, 0).hash(text.as_bytes()))
    }
}

/// What each rule of a text says, and the text as a whole.
#[derive(Debug)]
pub struct RuleTexts {
    whole: TextDigest,
    section: TextDigest,
    rules: Vec<(RuleId, TextDigest)>,
}

impl RuleTexts {
    /// A text without rules.
    pub const EMPTY: Self = Self { whole: TextDigest(0), section: TextDigest(0), rules: Vec::new() };

    /// A section begins with this line: the same words mean something else in each.
    pub(super) fn begin_section(&mut self, header: &str) {
        self.section = TextDigest::default().then(header);
        self.whole = self.whole.then(header);
    }

    /// The rule `id`, which is the next one, says `text`.
    pub(super) fn add(&mut self, id: RuleId, text: &str) {
        self.whole = self.whole.then(text);
        self.rules.push((id, self.section.then(text)));
    }

    /// All together.
    pub(super) const fn whole(&self) -> TextDigest {
        self.whole
    }

    /// What the rule `id` says; `None` when it is not of this text.
    pub(super) fn of(&self, id: RuleId) -> Option<TextDigest> {
        let place = self.rules.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.rules.get(place).map(|(_, digest)| *digest)
    }
}
