//! The plainest reading of live rules: their text, from the top, for each packet anew.

use ravelin::guard::ruling::{Answer, FlowRequest};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What was said last.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub clients: BTreeMap<Ipv4Addr, Vec<(String, String)>>,
    pub base: BTreeMap<String, String>,
    pub permits: BTreeMap<String, String>,
    pub forwards: BTreeMap<String, String>,
    /// `[permit]` of the file.
    pub file_permits: Vec<String>,
    /// `[forward]` of the file.
    pub file_forwards: Vec<String>,
    pub resolvers: Vec<Ipv4Addr>,
}

/// What a line says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Accept,
    Drop,
    Nothing,
    /// It is wrong.
    Wrong,
    /// It drops what is sent to a name of which nothing is known.
    Unknown,
}

impl Said {
    pub fn outward(&self, asked: &FlowRequest) -> Answer {
        let Some(own) = self.clients.get(&asked.source) else { return Answer::Unknown };
        let Some(policy) = self.policy(own) else { return Answer::Reject };
        let base = self.base.values().filter(|line| !line.trim().is_empty());
        let base = base.map(|line| match self.rule(line, asked, Writer::Person) {
            Says::Wrong => Says::Drop,
            says => says,
        });
        let base: Vec<Says> = base.collect();
        if base.contains(&Says::Unknown) {
            return Answer::Reject;
        }
        let base = base.into_iter();
        let own = own.iter().filter(|(key, _)| key != "policy");
        let own = own.map(|(_, line)| self.rule(line, asked, Writer::Qubesd));
        answer(base.chain(own).find(|says| *says != Says::Nothing).unwrap_or(policy))
    }

    pub fn between(&self, asked: &FlowRequest) -> Answer {
        let Some(own) = self.clients.get(&asked.source) else { return Answer::Unknown };
        if self.policy(own).is_none() || !self.is_reached(asked.destination) {
            return Answer::Reject;
        }
        let live = self.permits.values().filter(|line| !line.trim().is_empty());
        for line in live.chain(&self.file_permits) {
            let words = line.split_whitespace();
            let (ends, rule): (Vec<&str>, Vec<&str>) =
                words.partition(|word| word.starts_with("from=") || word.starts_with("to="));
            let end = |key: &str| {
                let end = ends.iter().find_map(|word| word.strip_prefix(key));
                end.and_then(network)
            };
            let (Some(from), Some(to)) = (end("from="), end("to=")) else { return Answer::Reject };
            if !holds(from, asked.source) || !holds(to, asked.destination) {
                continue;
            }
            // The other end is the destination: a rule that has one besides is wrong.
            if rule.iter().any(|word| word.starts_with("specialtarget=") || word.starts_with("dst4=")) {
                return Answer::Reject;
            }
            match self.rule(&rule.join(" "), asked, Writer::Person) {
                Says::Nothing => {}
                says => return answer(says),
            }
        }
        Answer::Reject
    }

    /// Where an uplink port leads.
    pub fn lead(&self, port: u16) -> Option<(Ipv4Addr, u16)> {
        for line in self.forwards.values().chain(&self.file_forwards) {
            let Some((first, last, (client, to))) = forward(line) else { continue };
            if (first..=last).contains(&port) {
                return self.is_reached(client).then_some((client, to + (port - first)));
            }
        }
        None
    }

    /// Whether anybody may begin anything to a client: its rules are known, and right.
    fn is_reached(&self, client: Ipv4Addr) -> bool {
        self.clients.get(&client).is_some_and(|own| self.policy(own).is_some())
    }

    /// What a client's policy says, if all its rules can be read.
    fn policy(&self, own: &[(String, String)]) -> Option<Says> {
        let any = FlowRequest {
            source: Ipv4Addr::UNSPECIFIED,
            destination: Ipv4Addr::UNSPECIFIED,
            protocol: 6,
            destination_port: Some(0),
            icmp_type: None,
            now: ravelin::base::time::UnixSeconds(0),
        };
        let mut policy = None;
        for (key, line) in own {
            match (key.as_str(), line.as_str()) {
                ("policy", "accept") => policy = Some(Says::Accept),
                ("policy", "drop") => policy = Some(Says::Drop),
                ("policy", _) => return None,
                _ if matches!(self.rule(line, &any, Writer::Qubesd), Says::Wrong | Says::Unknown) => {
                    return None;
                }
                _ => {}
            }
        }
        policy
    }

    fn rule(&self, line: &str, asked: &FlowRequest, writer: Writer) -> Says {
        let pairs: Option<Vec<_>> = line.split_whitespace().map(|word| word.split_once('=')).collect();
        let Some(pairs) = pairs else { return Says::Wrong };
        let value = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let mut names: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
        names.sort();
        let is_first = pairs.first().is_some_and(|(name, _)| *name == "action");
        let known = ["action", "dst4", "dsthost", "proto", "specialtarget", "dstports", "icmptype"];
        let places = ["dst4", "dsthost"].into_iter().filter(|key| value(key).is_some()).count();
        if names.windows(2).any(|two| two[0] == two[1])
            || names.iter().any(|name| !known.contains(name))
            || places > 1
            || (writer == Writer::Person && !is_first)
        {
            return Says::Wrong;
        }
        let says = match value("action") {
            Some("accept") => Says::Accept,
            Some("drop") => Says::Drop,
            _ => return Says::Wrong,
        };
        let (proto, dns) = (value("proto"), value("specialtarget"));
        let number = match proto {
            None => None,
            Some("tcp") => Some(6),
            Some("udp") => Some(17),
            Some("icmp") => Some(1),
            Some(_) => return Says::Wrong,
        };
        if dns.is_some_and(|dns| dns != "dns") {
            return Says::Wrong;
        }
        let ports = match value("dstports").map(range) {
            Some(None) => return Says::Wrong,
            ports => ports.flatten(),
        };
        let kind = match value("icmptype").map(|kind| kind.parse::<u8>().ok()) {
            Some(None) => return Says::Wrong,
            kind => kind.flatten(),
        };
        let unsaid = writer == Writer::Qubesd;
        let ports_fit = match number {
            Some(6 | 17) => true,
            Some(_) => false,
            None => (unsaid || dns.is_some()) && kind.is_none(),
        };
        let kind_fits = number == Some(1) || number.is_none() && unsaid;
        if ports.is_some() && !ports_fit || kind.is_some() && !kind_fits {
            return Says::Wrong;
        }
        let place = match value("dst4").map(network) {
            Some(None) => return Says::Wrong,
            place => place.flatten(),
        };
        // Nothing is known of a name, and of resolvers if there are none: never accepted.
        let unknown = match (value("dsthost").is_some(), dns.is_some() && self.resolvers.is_empty()) {
            (true, false) => Some(Says::Unknown),
            (_, true) => Some(Says::Wrong),
            (false, false) => None,
        };
        if let Some(unknown) = unknown {
            return if says == Says::Drop { unknown } else { Says::Nothing };
        }
        let is_dns = asked.destination_port == Some(53) && self.resolvers.contains(&asked.destination);
        let number = number.or(kind.map(|_| 1));
        let matches = place.is_none_or(|place| holds(place, asked.destination))
            && number.is_none_or(|number| number == asked.protocol)
            && ports.is_none_or(|(first, last)| {
                asked.destination_port.is_some_and(|port| (first..=last).contains(&port))
            })
            && kind.is_none_or(|kind| asked.icmp_type == Some(kind))
            && (dns.is_none() || is_dns);
        if matches { says } else { Says::Nothing }
    }
}

/// Who writes a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Person,
    Qubesd,
}

fn answer(says: Says) -> Answer {
    if says == Says::Accept { Answer::Accept } else { Answer::Reject }
}

fn network(text: &str) -> Option<(u32, u32)> {
    let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
    let bits: u32 = bits.parse().ok()?;
    (bits <= 32).then_some((address.parse::<Ipv4Addr>().ok()?.to_bits(), bits))
}

fn holds((network, bits): (u32, u32), address: Ipv4Addr) -> bool {
    bits == 0 || (network ^ address.to_bits()) >> (32 - bits) == 0
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// The ports of a line about TCP, and where the first of them leads.
fn forward(line: &str) -> Option<(u16, u16, (Ipv4Addr, u16))> {
    let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key));
    let (first, last) = range(value("dstports=")?)?;
    let (client, port) = value("to=")?.split_once(':')?;
    (value("proto=")? == "tcp").then_some((first, last, (client.parse().ok()?, port.parse().ok()?)))
}
