//! One Qubes firewall rule: `action=accept proto=tcp dstports=443-443 dst4=10.0.0.0/8`.
//!
//! The same parser reads the static rule file and, later, QubesDB. Grammar and meaning are those of Qubes'
//! API documentation ("vm-interface", firewall rules in 4.x) and of its Linux agent (qubesagent/firewall.py):
//! `key=value` pairs between blanks, `action` first, every key at most once, one destination at most.

use super::rule_error::{RuleError, RuleProblem};
use crate::base::prefix::Ipv4Prefix;
use crate::base::text::{Column, Excerpt, Word, Words, decimal, words};
use crate::base::time::UnixSeconds;
use alloc::string::String;
use arrayvec::ArrayVec;
use core::net::Ipv6Addr;

/// Characters of a host name (RFC 1035, 2.3.4).
const MAX_HOST_NAME_BYTES: usize = 253;

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Let it pass.
    Accept,
    /// Refuse it and tell the sender: Qubes' "drop" is a reject.
    Drop,
}

impl Action {
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

/// `specialtarget=`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialTarget {
    /// Port 53, TCP and UDP, of the configured name servers.
    Dns,
}

/// `dstports=`: ports from `first` to `last`, both included; never reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// `None` when `first` is above `last`.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first > last { None } else { Some(Self { first, last }) }
    }

    /// Reads `80-90`, or `80` for 80-80.
    pub fn from_text(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(decimal(first)?, decimal(last)?)
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether `port` is one of them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// A rule as written. A packet matches when it meets every condition that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What becomes of packets that match.
    pub action: Action,
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

/// Where a rule was written, which decides what it may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The static file, written by a person: `expire=` and `comment=` are known, and `dstports=` and
    /// `icmptype=` need their `proto=`, as in Qubes' API.
    File,
    /// QubesDB, written by qubesd: no `expire=` and `comment=`; a missing `proto=` with `dstports=` means
    /// TCP and UDP, with `icmptype=` ICMP, as for Qubes' Linux agent.
    QubesDb,
}

/// A key of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `action=`
    Action,
    /// `dst4=`
    Dst4,
    /// `dst6=`
    Dst6,
    /// `dsthost=`
    DstHost,
    /// `proto=`
    Proto,
    /// `specialtarget=`
    SpecialTarget,
    /// `dstports=`
    DstPorts,
    /// `icmptype=`
    IcmpType,
    /// `expire=`
    Expire,
    /// `comment=`
    Comment,
}

impl Key {
    const ALL: [Key; 10] = [
        Self::Action,
        Self::Dst4,
        Self::Dst6,
        Self::DstHost,
        Self::Proto,
        Self::SpecialTarget,
        Self::DstPorts,
        Self::IcmpType,
        Self::Expire,
        Self::Comment,
    ];

    /// What is written before the `=`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Dst4 => "dst4",
            Self::Dst6 => "dst6",
            Self::DstHost => "dsthost",
            Self::Proto => "proto",
            Self::SpecialTarget => "specialtarget",
            Self::DstPorts => "dstports",
            Self::IcmpType => "icmptype",
            Self::Expire => "expire",
            Self::Comment => "comment",
        }
    }

    /// What is written after the `=`.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Action => "accept or drop",
            Self::Dst4 => "an IPv4 address or network, as 10.0.0.0/8",
            Self::Dst6 => "an IPv6 address or network, as fd09::/16",
            Self::DstHost => "a host name of a-z, 0-9, -, . and _",
            Self::Proto => "tcp, udp or icmp",
            Self::SpecialTarget => "dns",
            Self::DstPorts => "ports as 80-90 or 80, from 0 to 65535",
            Self::IcmpType => "a number from 0 to 255",
            Self::Expire => "seconds since 1970",
            Self::Comment => "any text",
        }
    }
}

impl Rule {
    /// Reads a rule from a line that holds nothing else.
    ///
    /// # Errors
    /// The first mistake, with its column.
    pub fn parse(line: &str, origin: Origin) -> Result<Rule, RuleError> {
        Self::from_words(words(line), origin)
    }

    /// Reads a rule from the rest of a line. `comment=` takes all that follows it.
    ///
    /// # Errors
    /// The first mistake, with its column in the line.
    pub fn from_words(mut rest: Words<'_>, origin: Origin) -> Result<Rule, RuleError> {
        let mut draft = Draft::new(origin);
        let mut end = rest.end();
        while let Some(word) = rest.next() {
            end = rest.end();
            if draft.pair(word)? == Key::Comment {
                break;
            }
        }
        draft.finish(end)
    }
}

/// A rule in the making.
struct Draft {
    origin: Origin,
    rule: Rule,
    seen: ArrayVec<(Key, Column), 10>,
}

impl Draft {
    fn new(origin: Origin) -> Self {
        let rule = Rule {
            action: Action::Drop,
            destination: Destination::Any,
            protocol: None,
            special_target: None,
            ports: None,
            icmp_type: None,
            expires: None,
        };
        Self { origin, rule, seen: ArrayVec::new() }
    }

    fn column_of(&self, key: Key) -> Option<Column> {
        self.seen.iter().find(|(seen, _)| *seen == key).map(|(_, column)| *column)
    }

    fn pair(&mut self, word: Word<'_>) -> Result<Key, RuleError> {
        let at = |problem| RuleError { column: word.column, problem };
        let (name, value) =
            word.split_key().ok_or_else(|| at(RuleProblem::NoPair(Excerpt::of(word.text))))?;
        let key = Key::ALL.into_iter().find(|key| key.text() == name.text);
        let key = key.ok_or_else(|| at(RuleProblem::UnknownKey(Excerpt::of(name.text))))?;
        if self.origin == Origin::QubesDb && matches!(key, Key::Expire | Key::Comment) {
            return Err(at(RuleProblem::FileOnly(key)));
        }
        if self.seen.is_empty() && key != Key::Action {
            return Err(at(RuleProblem::ActionFirst));
        }
        if self.column_of(key).is_some() {
            return Err(at(RuleProblem::Repeated(key)));
        }
        let destinations = [Key::Dst4, Key::Dst6, Key::DstHost];
        if destinations.contains(&key) && self.rule.destination != Destination::Any {
            return Err(at(RuleProblem::SecondDestination(key)));
        }
        self.value(key, value.text).ok_or_else(|| RuleError {
            column: value.column,
            problem: RuleProblem::Malformed(key, Excerpt::of(value.text)),
        })?;
        // Ten keys at most once each: there is room.
        let _ = self.seen.try_push((key, word.column));
        Ok(key)
    }

    fn value(&mut self, key: Key, text: &str) -> Option<()> {
        let rule = &mut self.rule;
        match key {
            Key::Action => rule.action = Action::from_text(text)?,
            Key::Dst4 => rule.destination = Destination::V4(text.parse().ok()?),
            Key::Dst6 => rule.destination = network6(text)?,
            Key::DstHost => rule.destination = Destination::Host(host_name(text)?.into()),
            Key::Proto => rule.protocol = Some(protocol(text)?),
            Key::SpecialTarget => rule.special_target = Some((text == "dns").then_some(SpecialTarget::Dns)?),
            Key::DstPorts => rule.ports = Some(PortRange::from_text(text)?),
            Key::IcmpType => rule.icmp_type = Some(decimal(text)?),
            Key::Expire => rule.expires = Some(UnixSeconds(decimal(text)?)),
            Key::Comment => {}
        }
        Some(())
    }

    fn finish(self, end: Column) -> Result<Rule, RuleError> {
        if self.seen.is_empty() {
            return Err(RuleError { column: end, problem: RuleProblem::NoAction });
        }
        let unsaid = self.origin == Origin::QubesDb || self.rule.special_target.is_some();
        let ports_fine = match self.rule.protocol {
            Some(Protocol::Tcp | Protocol::Udp) => true,
            Some(Protocol::Icmp) => false,
            None => unsaid && self.rule.icmp_type.is_none(),
        };
        let icmp_fine = match self.rule.protocol {
            Some(Protocol::Icmp) => true,
            Some(Protocol::Tcp | Protocol::Udp) => false,
            None => self.origin == Origin::QubesDb,
        };
        if !ports_fine && let Some(column) = self.column_of(Key::DstPorts) {
            return Err(RuleError { column, problem: RuleProblem::PortsNeedTcpOrUdp });
        }
        if !icmp_fine && let Some(column) = self.column_of(Key::IcmpType) {
            return Err(RuleError { column, problem: RuleProblem::IcmpTypeNeedsIcmp });
        }
        Ok(self.rule)
    }
}

/// Reads `proto=`'s value.
pub(super) fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "icmp" => Some(Protocol::Icmp),
        _ => None,
    }
}

fn network6(text: &str) -> Option<Destination> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, decimal(length)?),
        None => (text, 128),
    };
    (length <= 128).then_some(Destination::V6(address.parse().ok()?, length))
}

fn host_name(text: &str) -> Option<&str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
    (!text.is_empty() && text.len() <= MAX_HOST_NAME_BYTES && text.chars().all(allowed)).then_some(text)
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
