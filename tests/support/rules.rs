//! Rule tables for tests, from lines as users write them.

use ravelin::base::prefix::Ipv4Prefix;
use ravelin::guard::RuleTable;
use ravelin::guard::compiled::{Compiled, CompiledRule};
use ravelin::guard::forward::{PortForward, PortForwards};
use ravelin::guard::permit::Permit;
use ravelin::guard::port_range::PortRange;
use ravelin::guard::rule::{Rule, RuleAction};
use ravelin::guard::rule_id::RuleId;
use ravelin::guard::section::Section;
use ravelin::guard::table::RuleTableParts;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The name servers that `specialtarget=dns` stands for.
pub const RESOLVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 139, 1, 1), Ipv4Addr::new(10, 139, 1, 2)];

/// The rule that a line says.
pub fn compile(line: &str) -> CompiledRule {
    compile_all(&[line]).remove(0)
}

/// The rules of a file that has these lines and no others.
fn compile_all(lines: &[&str]) -> Vec<CompiledRule> {
    let numbered = (1..).map(RuleId::in_file).zip(lines);
    let compiled = numbered.map(|(id, line)| {
        let rule = Rule::parse(line, id).unwrap();
        match CompiledRule::from_rule(&rule, &RESOLVERS) {
            Compiled::Ready(rule) => rule,
            other => panic!("{line}: {other:?}"),
        }
    });
    compiled.collect()
}

/// A section of these rules, dropping what none of them matches.
pub fn section(lines: &[&str]) -> Section {
    Section::new(&compile_all(lines), RuleAction::Drop)
}

fn open() -> Option<Section> {
    Some(Section::new(&[], RuleAction::Accept))
}

/// These rules for every client.
pub fn rules(lines: &[&str]) -> RuleTable {
    RuleTable::new(RuleTableParts { default: Some(section(lines)), ..RuleTableParts::default() })
}

/// These rules for these clients only; others are unknown.
pub fn rules_of(sections: &[(Ipv4Addr, &[&str])]) -> RuleTable {
    let clients =
        sections.iter().map(|(client, lines)| (Ipv4Prefix::host(*client), section(lines))).collect();
    RuleTable::new(RuleTableParts { clients, ..RuleTableParts::default() })
}

/// Rules that let clients out and forward uplink ports: (protocol, uplink port, client, client port).
pub fn forwarding(forwards: &[(u8, u16, Ipv4Addr, u16)]) -> RuleTable {
    forwarding_by(&["action=accept"], forwards)
}

/// The same, and clients may go out as these lines say.
pub fn forwarding_by(lines: &[&str], forwards: &[(u8, u16, Ipv4Addr, u16)]) -> RuleTable {
    let mut ports = PortForwards::default();
    for (id, (protocol, port, client, client_port)) in (1..).map(RuleId::in_file).zip(forwards) {
        let range = PortRange::new(*port, *port).unwrap();
        let to = SocketAddrV4::new(*client, *client_port);
        ports.add(PortForward::new(id, *protocol, range, to).unwrap()).unwrap();
    }
    RuleTable::new(RuleTableParts {
        default: Some(section(lines)),
        forwards: ports,
        ..RuleTableParts::default()
    })
}

/// Rules that let clients out and to each other.
pub fn permitting() -> RuleTable {
    permitting_by(&["action=accept"])
}

/// Rules that let clients out, and to each other as these say.
pub fn permitting_by(lines: &[&str]) -> RuleTable {
    let rules = compile_all(lines).into_iter();
    let permits = rules.map(|rule| Permit { from: Ipv4Prefix::EVERYTHING, rule }).collect();
    RuleTable::new(RuleTableParts { default: open(), permits, ..RuleTableParts::default() })
}
