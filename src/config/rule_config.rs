//! The rule file as it was given, kept so that it can be compiled again when what it refers to changes.

use crate::guard::{RuleTable, ruleset};
use alloc::borrow::Cow;
use core::net::Ipv4Addr;

pub use crate::guard::ruleset::problem::Problems;

/// Where rules come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleConfig {
    /// Nobody gave any: clients may open connections to the uplink, nothing else is permitted.
    None,
    /// A rule file. The one of the ramdisk stays where the toolstack loaded it.
    File(Cow<'static, [u8]>),
}

impl RuleConfig {
    /// Makes the table, and says what is wrong with the rules. `resolvers` are the addresses that `specialtarget=dns`
    /// stands for.
    pub fn compile(&self, resolvers: &[Ipv4Addr]) -> (RuleTable, RulesReport) {
        match self {
            Self::None => (RuleTable::allow_all(), RulesReport::NoFile),
            Self::File(text) => {
                let (table, problems) = ruleset::read(text, resolvers);
                (table, RulesReport::Read { bytes: text.len(), passed_over: 0, problems })
            }
        }
    }
}

/// What was found in a rule source.
#[derive(Debug)]
pub enum RulesReport {
    /// There is no rule file.
    NoFile,
    /// There is no rule file, and the domain is a qube.
    NoFileInQube,
    /// It was read.
    Read {
        /// Its size.
        bytes: usize,
        /// How many sections of it do not count, since the domain is a qube.
        passed_over: usize,
        /// What is wrong with it.
        problems: Problems,
    },
}

impl RulesReport {
    /// What is to be said when the same rules are compiled again.
    #[must_use]
    pub fn again(self) -> Self {
        match self {
            Self::Read { bytes, problems, .. } => Self::Read { bytes, passed_over: 0, problems },
            other => other,
        }
    }

    /// What is to be said in a qube, where this many sections do not count.
    #[must_use]
    pub fn for_qube(self, sections: usize) -> Self {
        match self {
            Self::NoFile | Self::NoFileInQube => Self::NoFileInQube,
            Self::Read { bytes, problems, .. } => Self::Read { bytes, passed_over: sections, problems },
        }
    }
}
