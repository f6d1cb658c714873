//! What the model says, in the words of the engine and of the packets.

use crate::CLIENTS;
use crate::reference::{Load, Rules, Sent};
use crate::support::*;
use ravelin::base::prefix::Ipv4Prefix;
use ravelin::guard::RuleTable;
use ravelin::guard::forward::{PortForward, PortForwards};
use ravelin::guard::permit::Permit;
use ravelin::guard::port_range::PortRange;
use ravelin::guard::rule::RuleAction;
use ravelin::guard::rule_id::RuleId;
use ravelin::guard::section::Section;
use ravelin::guard::table::RuleTableParts;
use std::net::{Ipv4Addr, SocketAddrV4};

pub fn table_of(rules: &Rules) -> RuleTable {
    let mut clients = Vec::new();
    for client in CLIENTS {
        let lines: Vec<String> = rules
            .forbidden
            .iter()
            .filter(|(from, _)| *from == client)
            .map(|(_, remote)| format!("action=drop dst4={remote}"))
            .chain(["action=accept".to_string()])
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        clients.push((Ipv4Prefix::host(client), section(&lines)));
    }
    let permits = rules
        .permits
        .iter()
        .map(|(from, to)| Permit {
            from: Ipv4Prefix::host(*from),
            rule: compile(&format!("action=accept dst4={to}")),
        })
        .collect();
    let mut forwards = PortForwards::default();
    for (protocol, port, client, client_port) in &rules.forwards {
        let to = SocketAddrV4::new(*client, *client_port);
        forwards
            .add(
                PortForward::new(RuleId::in_file(1), *protocol, PortRange::new(*port, *port).unwrap(), to)
                    .unwrap(),
            )
            .unwrap();
    }
    RuleTable::new(RuleTableParts {
        default: Some(Section::new(&[], RuleAction::Accept)),
        clients,
        permits,
        forwards,
        ..RuleTableParts::default()
    })
}

/// Source and destination; of pings the identifier as both ports, of other protocols zero.
pub fn ends_of(packet: &TestPacket) -> ((Ipv4Addr, u16), (Ipv4Addr, u16)) {
    match packet.protocol() {
        6 | 17 => (packet.from(), packet.to()),
        1 => ((packet.source(), packet.icmp_ident()), (packet.destination(), packet.icmp_ident())),
        _ => ((packet.source(), 0), (packet.destination(), 0)),
    }
}

pub fn packet_of(sent: &Sent) -> TestPacket {
    let (from, to) = (sent.source, sent.destination);
    let packet = match sent.load {
        Load::Udp => udp(from, to),
        Load::EchoRequest => echo_request(from.0, to.0, from.1),
        Load::EchoReply => echo_reply(from.0, to.0, from.1),
        Load::Other(protocol) => ip(from.0, to.0, protocol, b"some payload"),
        Load::Tcp(segment) => {
            let letter = |flag, letter| if flag { letter } else { "" };
            let letters = [
                letter(segment.syn, "S"),
                letter(segment.ack, "A"),
                letter(segment.fin, "F"),
                letter(segment.rst, "R"),
            ]
            .concat();
            let (sequence, acknowledgement) = (segment.sequence as u32, segment.acknowledgement as u32);
            tcp_with(from, to, &letters, sequence, acknowledgement, &vec![1; segment.data as usize])
        }
    };
    packet.ttl_of(sent.ttl)
}
