//! What can be wrong with a firewall rule, and how the console says so.

use super::rule_key::RuleKey;
use crate::base::text::{Column, Excerpt};
use core::fmt;

/// A rule that cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Where the mistake starts.
    pub column: Column,
    /// What it is.
    pub mistake: RuleMistake,
}

/// What can be wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleMistake {
    /// A word without `=`.
    NoPair(Excerpt),
    /// A key that no rule has.
    UnknownKey(Excerpt),
    /// The first key is another than `action`.
    ActionFirst,
    /// There is no `action`.
    NoAction,
    /// A key for the second time.
    Repeated(RuleKey),
    /// A second one of `dst4`, `dst6` and `dsthost`.
    SecondDestination(RuleKey),
    /// A value that cannot be read.
    Malformed(RuleKey, Excerpt),
    /// A key that only the rule file has.
    FileOnly(RuleKey),
    /// `dstports` with a protocol that has none, or without one where it must be said.
    PortsNeedTcpOrUdp,
    /// `icmptype` with another protocol, or without one where it must be said.
    IcmpTypeNeedsIcmp,
}

impl fmt::Display for RuleMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPair(found) => write!(f, "{found} has no value; expected key=value"),
            Self::UnknownKey(found) => write!(
                f,
                "unknown key {found}; expected action, dst4, dst6, dsthost, proto, specialtarget, dstports, \
                 icmptype, expire or comment"
            ),
            Self::ActionFirst => f.write_str("the rule begins with another key; expected action= first"),
            Self::NoAction => f.write_str("the rule has no action; expected action="),
            Self::Repeated(key) => write!(f, "{}= for the second time; expected once", key.text()),
            Self::SecondDestination(key) => write!(
                f,
                "{}= is a second destination; expected one of dst4=, dst6= and dsthost= at most",
                key.text()
            ),
            Self::Malformed(key, found) => {
                write!(f, "{}={found} cannot be read; expected {}", key.text(), key.expected())
            }
            Self::FileOnly(key) => write!(f, "{}= is known in the rule file only", key.text()),
            Self::PortsNeedTcpOrUdp => {
                f.write_str("dstports= without its protocol; expected proto=tcp or proto=udp")
            }
            Self::IcmpTypeNeedsIcmp => f.write_str("icmptype= without its protocol; expected proto=icmp"),
        }
    }
}

impl core::error::Error for RuleError {}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.mistake)
    }
}
