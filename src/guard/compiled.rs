//! A rule made ready for look-up: which addresses, which services, how long, what then.

use super::rule::{Action, Destination, PortRange, Protocol, Rule, SpecialTarget};
use super::service::Services;
use crate::base::prefix::Ipv4Prefix;
use crate::base::time::UnixSeconds;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::fmt;
use core::net::Ipv4Addr;

/// The port of DNS.
const DNS_PORT: u16 = 53;

/// How long a rule counts. Later is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifetime {
    /// Until this second begins.
    Until(UnixSeconds),
    /// Always.
    Forever,
}

impl Lifetime {
    /// Whether the rule counts at `now`.
    pub fn includes(self, now: UnixSeconds) -> bool {
        match self {
            Self::Until(end) => now < end,
            Self::Forever => true,
        }
    }
}

/// When those of `decisions` that do not count for ever stop counting.
pub(super) fn expiries(decisions: &[Decision]) -> impl Iterator<Item = UnixSeconds> + '_ {
    decisions.iter().filter_map(|decision| match decision.lifetime {
        Lifetime::Until(end) => Some(end),
        Lifetime::Forever => None,
    })
}

/// What a rule decides, and how long it does so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of packets that match.
    pub action: Action,
    /// How long the rule counts.
    pub lifetime: Lifetime,
}

/// A rule without names: it matches when the destination is in one of the networks and the service in one of
/// the intervals. None of either means that it never matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledRule {
    /// What it decides.
    pub decision: Decision,
    /// Where packets go that match.
    pub destinations: Vec<Ipv4Prefix>,
    /// What they want there.
    pub services: ArrayVec<Services, 2>,
}

/// Why a rule that is written well cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// `dst6=`, in a set of rules for a client's IPv4 address.
    WrongFamily,
    /// `dsthost=` with a name: nothing here resolves names yet.
    UnresolvedName,
    /// `specialtarget=dns`, and no name server is configured.
    NoResolver,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongFamily => "dst6= in the rules of an IPv4 client; expected dst4= or dsthost=",
            Self::UnresolvedName => "the name of dsthost= cannot be resolved yet; expected dst4=",
            Self::NoResolver => "no name server is configured; expected dns= on the command line",
        })
    }
}

/// A rule made ready, or as much of it as is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiled {
    /// It is in effect as written.
    Ready(CompiledRule),
    /// It accepts something that is not known: it never matches, which only refuses more.
    NeverMatches(CompiledRule, Obstacle),
    /// It would have to refuse something that is not known, or has no place here: whatever rules follow, nothing
    /// may be accepted.
    Blocks(Obstacle),
}

impl CompiledRule {
    /// Makes a rule ready. `resolvers` are the addresses that `specialtarget=dns` stands for.
    pub fn from_rule(rule: &Rule, resolvers: &[Ipv4Addr]) -> Compiled {
        let lifetime = rule.expires.map_or(Lifetime::Forever, Lifetime::Until);
        let decision = Decision { action: rule.action, lifetime };
        let mut compiled = CompiledRule { decision, destinations: Vec::new(), services: services(rule) };
        let obstacle = match destinations(rule, resolvers) {
            Ok(destinations) => {
                compiled.destinations = destinations;
                return Compiled::Ready(compiled);
            }
            Err(obstacle) => obstacle,
        };
        match (obstacle, rule.action) {
            (Obstacle::WrongFamily, _) | (_, Action::Drop) => Compiled::Blocks(obstacle),
            (_, Action::Accept) => Compiled::NeverMatches(compiled, obstacle),
        }
    }
}

fn destinations(rule: &Rule, resolvers: &[Ipv4Addr]) -> Result<Vec<Ipv4Prefix>, Obstacle> {
    let network = match &rule.destination {
        Destination::Any => Ipv4Prefix::EVERYTHING,
        Destination::V4(network) => network.network(),
        Destination::V6(..) => return Err(Obstacle::WrongFamily),
        // A name may be an address in digits, which resolves to itself.
        Destination::Host(name) => Ipv4Prefix::host(name.parse().map_err(|_| Obstacle::UnresolvedName)?),
    };
    match rule.special_target {
        None => Ok([network].into()),
        Some(SpecialTarget::Dns) if resolvers.is_empty() => Err(Obstacle::NoResolver),
        Some(SpecialTarget::Dns) => {
            let within = resolvers.iter().filter(|resolver| network.contains(**resolver));
            Ok(within.map(|resolver| Ipv4Prefix::host(*resolver)).collect())
        }
    }
}

fn services(rule: &Rule) -> ArrayVec<Services, 2> {
    let ports = match rule.special_target {
        None => rule.ports,
        // Ports that exclude 53, or ICMP, leave nothing of DNS.
        Some(SpecialTarget::Dns) if rule.ports.is_some_and(|ports| !ports.contains(DNS_PORT)) => {
            return ArrayVec::new();
        }
        Some(SpecialTarget::Dns) if rule.icmp_type.is_some() => return ArrayVec::new(),
        Some(SpecialTarget::Dns) => PortRange::new(DNS_PORT, DNS_PORT),
    };
    let both = |ports| [Services::tcp(ports), Services::udp(ports)].into();
    match (rule.protocol, ports, rule.icmp_type) {
        (None, None, None) => [Services::ALL].into_iter().collect(),
        (None, Some(ports), None) => both(ports),
        (Some(Protocol::Tcp), Some(ports), None) => [Services::tcp(ports)].into_iter().collect(),
        (Some(Protocol::Udp), Some(ports), None) => [Services::udp(ports)].into_iter().collect(),
        (None | Some(Protocol::Icmp), None, Some(kind)) => [Services::icmp(kind)].into_iter().collect(),
        (Some(protocol), None, None) => [Services::of_protocol(protocol)].into_iter().collect(),
        // Conditions that no packet meets, which the parser refuses but for `proto=icmp specialtarget=dns`.
        (Some(Protocol::Icmp), Some(_), _) | (_, _, Some(_)) => ArrayVec::new(),
    }
}
