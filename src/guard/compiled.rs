//! A rule made ready for look-up: which addresses, which services, how long, what then.

use super::port_range::PortRange;
use super::rule::{Destination, Protocol, Rule, RuleAction, SpecialTarget};
use super::rule_id::RuleId;
use super::rule_key::RuleKey;
use super::service::ServiceRange;
use crate::base::host_name::HostName;
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
pub struct Lifetime {
    /// The second in which it is over. Forever is the last that can be told: one comparison per rule that a look-up
    /// reads.
    end: UnixSeconds,
}

impl Lifetime {
    /// Always.
    pub const FOREVER: Self = Self { end: UnixSeconds(u64::MAX) };

    /// Until the second `end` begins.
    pub const fn until(end: UnixSeconds) -> Self {
        Self { end }
    }

    /// Whether the rule counts at `now`.
    pub fn includes(self, now: UnixSeconds) -> bool {
        now < self.end
    }

    /// When it is over; `None` for one that never is.
    pub fn end(self) -> Option<UnixSeconds> {
        (self != Self::FOREVER).then_some(self.end)
    }
}

/// Where the packets go that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destinations {
    /// To an address in one of these networks.
    Networks(Vec<Ipv4Prefix>),
    /// To an address that this name stands for, in one of these networks.
    Name {
        /// The name.
        host: HostName,
        /// The networks.
        within: Vec<Ipv4Prefix>,
    },
}

impl Destinations {
    /// The networks that are known, without those of names.
    pub fn networks(&self) -> &[Ipv4Prefix] {
        match self {
            Self::Networks(networks) => networks,
            Self::Name { .. } => &[],
        }
    }
}

/// A rule made ready: it matches when the destination is in one of the networks and the service in one of the
/// intervals. None of either means that it never matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledRule {
    /// Where it was written.
    pub id: RuleId,
    /// What becomes of packets that match.
    pub action: RuleAction,
    /// How long it counts.
    pub lifetime: Lifetime,
    /// Where packets go that match.
    pub destinations: Destinations,
    /// What they want there.
    pub services: ArrayVec<ServiceRange, 2>,
}

/// Why a rule that is written well cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleObstacle {
    /// `dst6=`, in a set of rules for a client's IPv4 address.
    WrongFamily,
    /// `dsthost=` with what is no name, or with what others may read as an address.
    ImpossibleName,
    /// `specialtarget=dns`, and no name server is configured.
    NoResolver,
}

impl RuleObstacle {
    /// The key that it comes from.
    pub const fn key(self) -> RuleKey {
        match self {
            Self::WrongFamily => RuleKey::Dst6,
            Self::ImpossibleName => RuleKey::DstHost,
            Self::NoResolver => RuleKey::SpecialTarget,
        }
    }
}

impl fmt::Display for RuleObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongFamily => "dst6= in the rules of an IPv4 client; expected dst4= or dsthost=",
            Self::ImpossibleName => {
                "dsthost= cannot be the name of a host; expected labels of 1 to 63 characters, the last no number"
            }
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
    NeverMatches(CompiledRule, RuleObstacle),
    /// It would have to refuse something that is not known, or has no place here: whatever rules follow, nothing
    /// may be accepted.
    Blocks(RuleObstacle),
}

impl CompiledRule {
    /// Makes a rule ready. `resolvers` are the addresses that `specialtarget=dns` stands for.
    pub fn from_rule(rule: &Rule, resolvers: &[Ipv4Addr]) -> Compiled {
        let lifetime = rule.expires.map_or(Lifetime::FOREVER, Lifetime::until);
        let ready = |destinations| {
            let (id, action, services) = (rule.id, rule.action, services(rule));
            CompiledRule { id, action, lifetime, destinations, services }
        };
        let obstacle = match destinations(rule, resolvers) {
            Ok(destinations) => return Compiled::Ready(ready(destinations)),
            Err(obstacle) => obstacle,
        };
        match (obstacle, rule.action) {
            (RuleObstacle::WrongFamily, _) | (_, RuleAction::Drop) => Compiled::Blocks(obstacle),
            (_, RuleAction::Accept) => {
                Compiled::NeverMatches(ready(Destinations::Networks(Vec::new())), obstacle)
            }
        }
    }
}

fn destinations(rule: &Rule, resolvers: &[Ipv4Addr]) -> Result<Destinations, RuleObstacle> {
    let (network, host) = match &rule.destination {
        Destination::Any => (Ipv4Prefix::EVERYTHING, None),
        Destination::V4(network) => (network.network(), None),
        Destination::V6(..) => return Err(RuleObstacle::WrongFamily),
        // A name may be an address in digits, which resolves to itself.
        Destination::Host(name) => match name.parse() {
            Ok(address) => (Ipv4Prefix::host(address), None),
            Err(_) => {
                let host = HostName::parse(name).filter(|host| !ends_in_number(host));
                (Ipv4Prefix::EVERYTHING, Some(host.ok_or(RuleObstacle::ImpossibleName)?))
            }
        },
    };
    let within = match rule.special_target {
        None => [network].into(),
        Some(SpecialTarget::Dns) if resolvers.is_empty() => return Err(RuleObstacle::NoResolver),
        Some(SpecialTarget::Dns) => {
            let within = resolvers.iter().filter(|resolver| network.contains(**resolver));
            within.map(|resolver| Ipv4Prefix::host(*resolver)).collect()
        }
    };
    Ok(match host {
        Some(host) => Destinations::Name { host, within },
        None => Destinations::Networks(within),
    })
}

/// Whether C libraries read this as an address: `192.0.2.001`, `192.0.513`, `0xc0000201`. There is no such host, and a name
/// server that says so must not leave a refusal without effect.
fn ends_in_number(host: &HostName) -> bool {
    let last = host.labels().last().unwrap_or_default();
    match last.strip_prefix(b"0x") {
        Some(digits) => digits.iter().all(u8::is_ascii_hexdigit),
        None => last.iter().all(u8::is_ascii_digit),
    }
}

fn services(rule: &Rule) -> ArrayVec<ServiceRange, 2> {
    let ports = match rule.special_target {
        None => rule.ports,
        // Ports that exclude 53, or ICMP, leave nothing of DNS.
        Some(SpecialTarget::Dns) if rule.ports.is_some_and(|ports| !ports.contains(DNS_PORT)) => {
            return ArrayVec::new();
        }
        Some(SpecialTarget::Dns) if rule.icmp_type.is_some() => return ArrayVec::new(),
        Some(SpecialTarget::Dns) => PortRange::new(DNS_PORT, DNS_PORT),
    };
    let both = |ports| [ServiceRange::tcp(ports), ServiceRange::udp(ports)].into();
    match (rule.protocol, ports, rule.icmp_type) {
        (None, None, None) => [ServiceRange::ALL].into_iter().collect(),
        (None, Some(ports), None) => both(ports),
        (Some(Protocol::Tcp), Some(ports), None) => [ServiceRange::tcp(ports)].into_iter().collect(),
        (Some(Protocol::Udp), Some(ports), None) => [ServiceRange::udp(ports)].into_iter().collect(),
        (None | Some(Protocol::Icmp), None, Some(kind)) => [ServiceRange::icmp(kind)].into_iter().collect(),
        (Some(protocol), None, None) => [ServiceRange::of_protocol(protocol)].into_iter().collect(),
        // Conditions that no packet meets, which the parser refuses but for `proto=icmp specialtarget=dns`.
        (Some(Protocol::Icmp), Some(_), _) | (_, _, Some(_)) => ArrayVec::new(),
    }
}
