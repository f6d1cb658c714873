//! Where a rule was written: by this it is known to whoever asks which rule decided.

use core::fmt;

/// A text that rules are read from, which decides what they may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleSource {
    /// The static file, written by a person: `expire=` and `comment=` are known, and `dstports=` and
    /// `icmptype=` need their `proto=`, as in Qubes' API.
    File,
    /// QubesDB, written by qubesd: no `expire=` and `comment=`; a missing `proto=` with `dstports=` means
    /// TCP and UDP, with `icmptype=` ICMP, as for Qubes' Linux agent.
    QubesDb,
}

/// A rule, by its place in the text that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// The text.
    pub source: RuleSource,
    /// The line in it, the first being 1.
    pub line: u32,
}

impl RuleId {
    /// The rule on a line of the static file.
    pub const fn in_file(line: u32) -> Self {
        Self { source: RuleSource::File, line }
    }

    /// A number that grows with the line, and from one text to the next.
    pub(super) fn order(self) -> u64 {
        (self.source as u64) << 32 | u64::from(self.line)
    }
}

/// As messages about mistakes in the rules begin: `rules:5`.
impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            RuleSource::File => "rules",
            RuleSource::QubesDb => "qubesdb",
        };
        write!(f, "{source}:{}", self.line)
    }
}
