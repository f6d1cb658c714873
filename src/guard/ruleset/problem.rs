//! What can be wrong with rules, what follows from it, and how the console says both.

use crate::base::prefix::Ipv4Prefix;
use crate::base::text::{Column, Excerpt};
use crate::guard::compiled::RuleObstacle;
use crate::guard::rule_error::RuleMistake;
use crate::guard::rule_id::RuleId;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

/// Problems that are kept to be shown; of more only the number is.
pub const MAX_PROBLEMS: usize = 64;

/// Everything that is wrong with a rule file or with what QubesDB says, in order.
#[derive(Debug, Default)]
pub struct Problems {
    /// The first 64.
    pub list: Vec<Problem>,
    /// How many more there are. They have their consequences all the same.
    pub omitted: usize,
}

impl Problems {
    /// Adds one, if there is room.
    #[inline(never)]
    pub fn add(&mut self, problem: Problem) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(problem);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }
}

/// One mistake, where it is, and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, or the key in QubesDB.
    pub at: ProblemPlace,
    /// The place in the line.
    pub column: Column,
    /// What is wrong.
    pub mistake: RuleFileMistake,
    /// What is refused because of it.
    pub consequence: Consequence,
}

/// Where a mistake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemPlace {
    /// A rule.
    Rule(RuleId),
    /// All rules of a client.
    Rules(Ipv4Addr),
    /// What a feature of the qube says: `vm-config.` and this.
    Feature(Excerpt),
}

/// Which clients a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SectionName {
    /// `[default]`
    Default,
    /// `[client …]`
    Client(Ipv4Prefix),
}

/// What can be wrong with rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleFileMistake {
    /// The bytes from here on are no text.
    NotUtf8,
    /// A line in brackets that begins no section.
    UnknownHeader(Excerpt),
    /// A line before the first section.
    OutsideSection(Excerpt),
    /// A section that is there already.
    RepeatedSection {
        /// The line of its other header.
        first_line: u32,
    },
    /// A policy that is neither accept nor drop, or has something after it in the file.
    Policy(Excerpt),
    /// A second policy in one section.
    RepeatedPolicy,
    /// A rule that cannot be read.
    Rule(RuleMistake),
    /// A rule that cannot be carried out.
    Obstacle(RuleObstacle),
    /// A client's rules have no policy.
    NoPolicy,
    /// A client's rules have a key that is neither `policy` nor a number.
    UnknownRule(Excerpt),
    /// What a client's rules say is no text.
    NotText,
    /// A client's rules need more memory than there is for them.
    TooLarge,
    /// Too many rules.
    TooManyRules {
        /// How many there may be.
        most: usize,
    },
    /// A `[permit]` or `[forward]` line lacks this key.
    MissingKey(&'static str),
    /// A `[forward]` line has a key that it does not know.
    UnknownKey(Excerpt),
    /// A `[permit]` or `[forward]` line has this key twice.
    RepeatedKey(&'static str),
    /// The value of a `[permit]` or `[forward]` line's key cannot be read.
    Malformed {
        /// The key.
        key: &'static str,
        /// Its value.
        found: Excerpt,
        /// What can be read.
        expected: &'static str,
    },
    /// A `[permit]` rule names a destination besides `to=`.
    SecondDestination,
    /// A `[forward]` line would lead a port elsewhere that leads somewhere already.
    PortTaken,
    /// A `[forward]` line has port 0, or ports that would be led beyond 65535.
    ImpossiblePorts,
}

/// What a mistake refuses. Nothing is ever accepted because of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Nobody begins any flow.
    EverythingBlocked,
    /// The clients of this section begin no flow, and none is begun to them.
    SectionBlocked(SectionName),
    /// This client begins no flow, and none is begun to it.
    ClientBlocked(Ipv4Addr),
    /// What the lines before this one do not decide is refused to all clients.
    BaseRefuses,
    /// This rule never matches.
    RuleNeverMatches,
    /// This line counts as a refusal between these clients.
    Refused {
        /// Those that would begin a flow.
        from: Ipv4Prefix,
        /// Those that would be reached.
        to: Ipv4Prefix,
    },
    /// Neither this line nor a later one permits anything between clients.
    PermitsEnd,
    /// Nothing is forwarded by this line.
    NotForwarded,
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("[default]"),
            Self::Client(network) => write!(f, "[client {network}]"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.at, self.column, self.mistake, self.consequence)
    }
}

impl fmt::Display for ProblemPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(id) => id.fmt(f),
            Self::Rules(client) => write!(f, "/qubes-firewall/{client}"),
            Self::Feature(name) => write!(f, "vm-config {name}"),
        }
    }
}

impl fmt::Display for RuleFileMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("bytes that are not UTF-8; expected text"),
            Self::UnknownHeader(found) => write!(
                f,
                "unknown section {found}; expected [default], [client ADDRESS], [client ADDRESS/PREFIX], \
                 [permit] or [forward]"
            ),
            Self::OutsideSection(found) => write!(f, "{found} is in no section; expected a header first"),
            Self::RepeatedSection { first_line } => {
                write!(f, "this section is on line {first_line} already; expected once")
            }
            Self::Policy(found) => {
                write!(f, "policy={found} cannot be read; expected accept or drop, alone on its line")
            }
            Self::RepeatedPolicy => f.write_str("policy= for the second time; expected once"),
            Self::Rule(problem) => problem.fmt(f),
            Self::Obstacle(obstacle) => obstacle.fmt(f),
            Self::NoPolicy => f.write_str("policy is missing"),
            Self::UnknownRule(key) => write!(f, "{key} is no key of a rule; expected policy or four digits"),
            Self::NotText => f.write_str("it cannot be read; expected text of a limited size"),
            Self::TooLarge => f.write_str("there is no memory for so many rules"),
            Self::TooManyRules { most } => write!(f, "too many rules; expected at most {most}"),
            Self::MissingKey(key) => write!(f, "{key}= is missing"),
            Self::UnknownKey(found) => write!(f, "unknown key {found}; expected proto, dstports or to"),
            Self::RepeatedKey(key) => write!(f, "{key}= for the second time; expected once"),
            Self::Malformed { key, found, expected } => {
                write!(f, "{key}={found} cannot be read; expected {expected}")
            }
            Self::SecondDestination => f.write_str("a destination besides to=; expected none"),
            Self::PortTaken => f.write_str("a port is forwarded by another line already"),
            Self::ImpossiblePorts => f.write_str("port 0, or ports led beyond 65535"),
        }
    }
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EverythingBlocked => f.write_str("everything is blocked"),
            Self::SectionBlocked(SectionName::Default) => {
                f.write_str("clients without a section of their own are blocked")
            }
            Self::SectionBlocked(name) => write!(f, "clients of {name} are blocked"),
            Self::ClientBlocked(client) => write!(f, "{client} is blocked"),
            Self::BaseRefuses => {
                f.write_str("clients are refused what the base rules before this one do not decide")
            }
            Self::RuleNeverMatches => f.write_str("this rule never matches"),
            Self::Refused { from, to } => write!(f, "refused from {from} to {to}"),
            Self::PermitsEnd => f.write_str("nothing is permitted from this line on"),
            Self::NotForwarded => f.write_str("nothing is forwarded by this line"),
        }
    }
}
