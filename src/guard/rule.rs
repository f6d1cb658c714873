//! One Qubes firewall rule as it is written, with every condition that it can have.

use super::port_range::PortRange;
use super::rule_id::RuleId;
use crate::base::prefix::Ipv4Prefix;
use crate::base::time::UnixSeconds;
use alloc::string::String;
use core::net::Ipv6Addr;

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// Let it pass.
    Accept,
    /// Refuse it and tell the sender: Qubes' "drop" is a reject.
    Drop,
}

impl RuleAction {
    /// Reads `accept` or `drop`.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "accept" => Some(Self::Accept),
            "drop" => Some(Self::Drop),
            _ => None,
        }
    }
}

/// The destinations that a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// All of them.
    Any,
    /// `dst4=`: a network, host bits as written.
    V4(Ipv4Prefix),
    /// `dst6=`: an address and its prefix length (0 to 128).
    V6(Ipv6Addr, u8),
    /// `dsthost=`: a name, to be resolved.
    Host(String),
}

/// `proto=`: the protocols that a rule can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP
    Icmp,
}

impl Protocol {
    /// Reads `tcp`, `udp` or `icmp`.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            "icmp" => Some(Self::Icmp),
            _ => None,
        }
    }
}

/// `specialtarget=`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialTarget {
    /// Port 53, TCP and UDP, of the configured name servers.
    Dns,
}

/// A rule as written. A packet matches when it meets every condition that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it was written.
    pub id: RuleId,
    /// What becomes of packets that match.
    pub action: RuleAction,
    /// `dst4=`, `dst6=` or `dsthost=`.
    pub destination: Destination,
    /// `proto=`; any protocol without it.
    pub protocol: Option<Protocol>,
    /// `specialtarget=`
    pub special_target: Option<SpecialTarget>,
    /// `dstports=`
    pub ports: Option<PortRange>,
    /// `icmptype=`
    pub icmp_type: Option<u8>,
    /// `expire=`: the second from which on the rule is as if it were not there.
    pub expires: Option<UnixSeconds>,
}
