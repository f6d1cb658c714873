//! What the rule table is asked, what it answers, and which rule said so.

use super::rule::RuleAction;
use super::rule_id::RuleId;
use crate::base::time::UnixSeconds;
use core::net::Ipv4Addr;

/// The packet that would begin a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRequest {
    /// The client that sends it.
    pub source: Ipv4Addr,
    /// Where it wants to go.
    pub destination: Ipv4Addr,
    /// The IPv4 header's protocol number.
    pub protocol: u8,
    /// The destination port, if the protocol is TCP or UDP. Without it such a packet is refused.
    pub destination_port: Option<u16>,
    /// The ICMP type, if the protocol is ICMP. Without it such a packet is refused.
    pub icmp_type: Option<u8>,
    /// The wall clock, for rules that expire.
    pub now: UnixSeconds,
}

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It passes, and so does the flow that it begins.
    Accept,
    /// A rule, the policy or a blocked section refuses it: the sender is told (ICMP 3/13).
    Reject,
    /// Nothing is known of its source: it vanishes silently.
    Unknown,
}

impl From<RuleAction> for Answer {
    fn from(action: RuleAction) -> Self {
        match action {
            RuleAction::Accept => Self::Accept,
            RuleAction::Drop => Self::Reject,
        }
    }
}

/// What gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuledBy {
    /// This rule was the first that matched; or none did, and this line says the section's policy.
    Rule(RuleId),
    /// No rule matches, and the answer is what holds where nothing is written.
    NoRule,
    /// The rules of the client that sends or of the one that is to be reached are wrong: both are blocked.
    BlockedSection,
}

/// An answer, and what gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What becomes of the packet.
    pub answer: Answer,
    /// What says so.
    pub by: RuledBy,
}

impl Ruling {
    /// Refused, since nothing is written about it.
    pub const REJECTED_BY_NO_RULE: Ruling = Ruling { answer: Answer::Reject, by: RuledBy::NoRule };
    /// No rule knows the source.
    pub const UNKNOWN: Ruling = Ruling { answer: Answer::Unknown, by: RuledBy::NoRule };
    /// Refused, since rules are wrong.
    pub const BLOCKED: Ruling = Ruling { answer: Answer::Reject, by: RuledBy::BlockedSection };

    /// What the rule `id` says.
    pub fn by_rule(id: RuleId, action: RuleAction) -> Ruling {
        Ruling { answer: action.into(), by: RuledBy::Rule(id) }
    }
}
