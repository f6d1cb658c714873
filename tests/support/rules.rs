//! Rule tables for tests, from lines as users write them.

use ravelin::base::prefix::Ipv4Prefix;
use ravelin::guard::RuleTable;
use ravelin::guard::compiled::{Compiled, CompiledRule};
use ravelin::guard::forward::{PortForward, PortForwards};
use ravelin::guard::permit::Permit;
use ravelin::guard::rule::{Action, Origin, PortRange, Rule};
use ravelin::guard::section::Section;
use ravelin::guard::table::Parts;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The name servers that `specialtarget=dns` stands for.
pub const RESOLVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 139, 1, 1), Ipv4Addr::new(10, 139, 1, 2)];

pub fn compile(line: &str) -> CompiledRule {
    let rule = Rule::parse(line, Origin::File).unwrap();
    match CompiledRule::from_rule(&rule, &RESOLVERS) {
        Compiled::Ready(rule) => rule,
        other => panic!("{line}: {other:?}"),
    }
}

/// A section of these rules, dropping what none of them matches.
pub fn section(lines: &[&str]) -> Section {
    let rules: Vec<CompiledRule> = lines.iter().map(|line| compile(line)).collect();
    Section::new(&rules, Action::Drop)
}

fn open() -> Option<Section> {
    Some(Section::new(&[], Action::Accept))
}

/// These rules for every client.
pub fn rules(lines: &[&str]) -> RuleTable {
    RuleTable::new(Parts { default: Some(section(lines)), ..Parts::default() })
}

/// These rules for these clients only; others are unknown.
pub fn rules_of(sections: &[(Ipv4Addr, &[&str])]) -> RuleTable {
    let clients =
        sections.iter().map(|(client, lines)| (Ipv4Prefix::host(*client), section(lines))).collect();
    RuleTable::new(Parts { clients, ..Parts::default() })
}

/// Rules that let clients out and forward uplink ports: (protocol, uplink port, client, client port).
pub fn forwarding(forwards: &[(u8, u16, Ipv4Addr, u16)]) -> RuleTable {
    forwarding_by(&["action=accept"], forwards)
}

/// The same, and clients may go out as these lines say.
pub fn forwarding_by(lines: &[&str], forwards: &[(u8, u16, Ipv4Addr, u16)]) -> RuleTable {
    let mut ports = PortForwards::default();
    for (protocol, port, client, client_port) in forwards {
        let range = PortRange::new(*port, *port).unwrap();
        let to = SocketAddrV4::new(*client, *client_port);
        ports.add(PortForward::new(*protocol, range, to).unwrap()).unwrap();
    }
    RuleTable::new(Parts { default: Some(section(lines)), forwards: ports, ..Parts::default() })
}

/// Rules that let clients out and to each other.
pub fn permitting() -> RuleTable {
    permitting_by(&["action=accept"])
}

/// Rules that let clients out, and to each other as these say.
pub fn permitting_by(lines: &[&str]) -> RuleTable {
    let permits =
        lines.iter().map(|line| Permit { from: Ipv4Prefix::EVERYTHING, rule: compile(line) }).collect();
    RuleTable::new(Parts { default: open(), permits, ..Parts::default() })
}
