//! The table against the plainest possible model: read the rules from the top.

use super::*;
use crate::base::time::UnixSeconds;
use crate::guard::client_section::ClientSection;
use crate::guard::compiled::{Compiled, CompiledRule, Destinations};
use crate::guard::rule::{Destination, Protocol, Rule, SpecialTarget};
use crate::guard::rule_id::RuleId;
use crate::guard::rule_update::{ClientUpdate, LinesUpdate};
use crate::guard::ruling::Answer;
use crate::guard::service::{ICMP, TCP, UDP};
use alloc::format;
use alloc::string::String;
use proptest::prelude::*;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 5);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 6);
const RESOLVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 139, 1, 1), Ipv4Addr::new(10, 139, 1, 2)];

fn compile(lines: &[&str]) -> Vec<CompiledRule> {
    lines
        .iter()
        .map(|line| {
            match CompiledRule::from_rule(&Rule::parse(line, RuleId::in_file(1)).unwrap(), &RESOLVERS) {
                Compiled::Ready(rule) => rule,
                other => panic!("{line}: {other:?}"),
            }
        })
        .collect()
}

fn with_default(lines: &[&str], policy: RuleAction) -> RuleTable {
    RuleTable::new(RuleTableParts {
        default: Some(Section::new(&compile(lines), policy)),
        ..RuleTableParts::default()
    })
}

fn to(destination: &str, protocol: u8, number: u16) -> FlowRequest {
    let icmp = protocol == ICMP;
    FlowRequest {
        source: CLIENT,
        destination: destination.parse().unwrap(),
        protocol,
        destination_port: (!icmp).then_some(number),
        icmp_type: icmp.then_some(number as u8),
        now: UnixSeconds(1_000),
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let table = with_default(
        &["action=drop proto=tcp dstports=80-80 dst4=1.2.3.0/24", "action=accept dst4=1.0.0.0/8"],
        RuleAction::Drop,
    );
    assert_eq!(table.outward(&to("1.2.3.4", TCP, 80)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("1.2.3.4", TCP, 81)).answer, Answer::Accept);
    assert_eq!(table.outward(&to("1.2.4.4", TCP, 80)).answer, Answer::Accept);
    assert_eq!(table.outward(&to("2.2.4.4", TCP, 80)).answer, Answer::Reject);
}

/// 6.1, is_blocked: rules and expectations of Qubes' own test, as far as they are IPv4 without names.
#[test]
fn qubes_own_examples_hold() {
    let table = with_default(
        &[
            "action=drop proto=tcp dstports=80-80",
            "action=drop proto=tcp dstports=90-92",
            "action=drop dst4=3.3.3.3/32",
            "action=drop dst4=4.4.4.4/24",
            "action=drop proto=udp specialtarget=dns",
            "action=accept",
        ],
        RuleAction::Drop,
    );
    assert_eq!(table.outward(&to("10.0.0.1", TCP, 443)).answer, Answer::Accept);
    assert_eq!(table.outward(&to("10.0.0.1", UDP, 80)).answer, Answer::Accept);
    assert_eq!(table.outward(&to("10.0.0.1", TCP, 80)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("10.0.0.1", TCP, 91)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("3.3.3.3", UDP, 1)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("4.4.4.8", UDP, 1)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("10.139.1.1", UDP, 53)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("10.139.1.1", TCP, 53)).answer, Answer::Accept);
    assert_eq!(with_default(&[], RuleAction::Drop).outward(&to("10.0.0.1", TCP, 1)).answer, Answer::Reject);
}

#[test]
fn f1_a_network_and_a_port() {
    let table = with_default(&["action=accept proto=tcp dstports=80-80 dst4=1.2.3.0/24"], RuleAction::Drop);
    assert_eq!(table.outward(&to("1.2.3.9", TCP, 80)).answer, Answer::Accept);
    assert_eq!(table.outward(&to("1.2.3.9", TCP, 81)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("1.2.3.9", UDP, 80)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("1.2.4.9", TCP, 80)).answer, Answer::Reject);
}

#[test]
fn f3_q5_dns_is_port_53_of_the_resolvers_by_tcp_and_udp() {
    let table = with_default(&["action=accept specialtarget=dns"], RuleAction::Drop);
    for resolver in ["10.139.1.1", "10.139.1.2"] {
        assert_eq!(table.outward(&to(resolver, UDP, 53)).answer, Answer::Accept);
        assert_eq!(table.outward(&to(resolver, TCP, 53)).answer, Answer::Accept);
        assert_eq!(table.outward(&to(resolver, UDP, 54)).answer, Answer::Reject);
        assert_eq!(table.outward(&to(resolver, ICMP, 8)).answer, Answer::Reject);
    }
    assert_eq!(table.outward(&to("8.8.8.8", UDP, 53)).answer, Answer::Reject);
}

#[test]
fn f4_dns_with_a_protocol_is_that_protocol_only() {
    let table = with_default(&["action=drop proto=udp specialtarget=dns"], RuleAction::Accept);
    assert_eq!(table.outward(&to("10.139.1.1", UDP, 53)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("10.139.1.1", TCP, 53)).answer, Answer::Accept);
    assert_eq!(table.outward(&to("10.139.1.1", UDP, 443)).answer, Answer::Accept);
}

#[test]
fn dns_with_other_ports_or_icmp_matches_nothing() {
    for line in [
        "action=accept specialtarget=dns proto=udp dstports=54-100",
        "action=accept specialtarget=dns proto=icmp",
        "action=accept specialtarget=dns dst4=8.8.8.8",
    ] {
        let table = with_default(&[line], RuleAction::Drop);
        for request in [to("10.139.1.1", UDP, 53), to("10.139.1.1", UDP, 54), to("10.139.1.1", ICMP, 8)] {
            assert_eq!(table.outward(&request).answer, Answer::Reject, "{line}");
        }
        assert_eq!(table.outward(&to("8.8.8.8", UDP, 53)).answer, Answer::Reject, "{line}");
    }
    let wide = with_default(&["action=accept specialtarget=dns proto=udp dstports=50-60"], RuleAction::Drop);
    assert_eq!(wide.outward(&to("10.139.1.1", UDP, 53)).answer, Answer::Accept);
    assert_eq!(wide.outward(&to("10.139.1.1", UDP, 55)).answer, Answer::Reject);
}

#[test]
fn f5_f10_icmp_as_a_whole_or_one_type_of_it() {
    let table = with_default(&["action=drop proto=icmp icmptype=8"], RuleAction::Accept);
    assert_eq!(table.outward(&to("1.1.1.1", ICMP, 8)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("1.1.1.1", ICMP, 13)).answer, Answer::Accept);
    let table = with_default(&["action=drop proto=icmp"], RuleAction::Accept);
    assert_eq!(table.outward(&to("1.1.1.1", ICMP, 13)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("1.1.1.1", TCP, 13)).answer, Answer::Accept);
}

#[test]
fn f6_a_rule_without_conditions_matches_every_protocol() {
    let table = with_default(&["action=drop"], RuleAction::Accept);
    for protocol in [TCP, UDP, ICMP, 47, 50, 132, 255] {
        assert_eq!(table.outward(&to("1.1.1.1", protocol, 8)).answer, Answer::Reject, "{protocol}");
    }
}

#[test]
fn a_protocol_without_a_rule_of_its_own_passes_where_any_protocol_may() {
    let table = with_default(&["action=accept proto=tcp", "action=accept dst4=1.1.1.1"], RuleAction::Drop);
    assert_eq!(table.outward(&to("1.1.1.1", 50, 0)).answer, Answer::Accept);
    assert_eq!(table.outward(&to("2.2.2.2", 50, 0)).answer, Answer::Reject);
}

#[test]
fn f13_the_policy_is_the_last_rule() {
    assert_eq!(with_default(&[], RuleAction::Accept).outward(&to("1.1.1.1", TCP, 1)).answer, Answer::Accept);
    assert_eq!(with_default(&[], RuleAction::Drop).outward(&to("1.1.1.1", TCP, 1)).answer, Answer::Reject);
}

#[test]
fn q4_expired_rules_are_as_if_they_were_not_there() {
    let table =
        with_default(&["action=drop proto=tcp expire=1001", "action=accept expire=2000"], RuleAction::Drop);
    let at =
        |seconds| table.outward(&FlowRequest { now: UnixSeconds(seconds), ..to("1.1.1.1", TCP, 1) }).answer;
    assert_eq!(at(1_000), Answer::Reject);
    assert_eq!(at(1_001), Answer::Accept);
    assert_eq!(at(1_999), Answer::Accept);
    assert_eq!(at(2_000), Answer::Reject);
}

#[test]
fn a_packet_without_the_field_that_rules_look_at_is_refused() {
    let table = with_default(&[], RuleAction::Accept);
    let request = FlowRequest { destination_port: None, ..to("1.1.1.1", TCP, 1) };
    assert_eq!(table.outward(&request).answer, Answer::Reject);
    let request = FlowRequest { icmp_type: None, ..to("1.1.1.1", ICMP, 8) };
    assert_eq!(table.outward(&request).answer, Answer::Reject);
}

#[test]
fn the_most_specific_section_counts_as_a_whole() {
    let section = |lines: &[&str]| Section::new(&compile(lines), RuleAction::Drop);
    let table = RuleTable::new(RuleTableParts {
        default: Some(section(&["action=accept proto=udp"])),
        clients: [
            ("10.137.0.0/24".parse().unwrap(), section(&["action=accept proto=icmp"])),
            ("10.137.0.5/32".parse().unwrap(), section(&["action=accept proto=tcp"])),
        ]
        .into(),
        ..RuleTableParts::default()
    });
    let accepted = |source: &str| {
        let asked = |protocol| FlowRequest { source: source.parse().unwrap(), ..to("1.1.1.1", protocol, 8) };
        [TCP, UDP, ICMP].map(|protocol| table.outward(&asked(protocol)).answer == Answer::Accept)
    };
    assert_eq!(accepted("10.137.0.5"), [true, false, false]);
    assert_eq!(accepted("10.137.0.6"), [false, false, true]);
    assert_eq!(accepted("10.138.0.6"), [false, true, false]);
}

#[test]
fn a_source_without_a_section_is_unknown() {
    let table = RuleTable::new(RuleTableParts {
        clients: [("10.9.9.9".parse().unwrap(), Section::new(&[], RuleAction::Accept))].into(),
        ..RuleTableParts::default()
    });
    assert_eq!(table.outward(&to("1.1.1.1", TCP, 80)).answer, Answer::Unknown);
    assert_eq!(table.between(&to("10.9.9.9", TCP, 80)).answer, Answer::Unknown);
}

#[test]
fn sections_can_be_replaced_and_taken_away() {
    let mut table = RuleTable::allow_all().for_qube();
    assert_eq!(table.outward(&to("1.1.1.1", TCP, 80)).answer, Answer::Unknown);
    let set = |section| {
        let section = ClientSection::new(CLIENT, section, &RuleTexts::EMPTY);
        RuleUpdate::Clients([ClientUpdate::Set(section.into())].into())
    };
    table.update(set(Section::new(&[], RuleAction::Accept)));
    assert_eq!(table.outward(&to("1.1.1.1", TCP, 80)).answer, Answer::Accept);
    table.update(set(Section::new(&compile(&["action=drop proto=tcp"]), RuleAction::Accept)));
    assert_eq!(table.outward(&to("1.1.1.1", TCP, 80)).answer, Answer::Reject);
    assert_eq!(table.outward(&to("1.1.1.1", UDP, 80)).answer, Answer::Accept);
    let of_another = FlowRequest { source: OTHER, ..to("1.1.1.1", UDP, 80) };
    assert_eq!(table.outward(&of_another).answer, Answer::Unknown);
    table.update(RuleUpdate::Clients([ClientUpdate::Gone(CLIENT)].into()));
    assert_eq!(table.outward(&to("1.1.1.1", UDP, 80)).answer, Answer::Unknown);
    // What cannot be read blocks everybody, whatever QubesDB says.
    let mut table = RuleTable::block_all().for_qube();
    table.update(set(Section::new(&[], RuleAction::Accept)));
    assert_eq!(table.outward(&to("1.1.1.1", UDP, 80)).answer, Answer::Reject);
}

#[test]
fn a_name_concerns_those_whose_rules_refuse_it() {
    let host = |name: &str| HostName::parse(name).unwrap();
    let section = |client, lines: &[&str]| {
        let section = Section::new(&compile(lines), RuleAction::Accept);
        ClientUpdate::Set(ClientSection::new(client, section, &RuleTexts::EMPTY).into())
    };
    let mut table = RuleTable::allow_all().for_qube();
    let refusing = section(CLIENT, &["action=drop dsthost=a", "action=drop dsthost=b"]);
    let accepting = section(OTHER, &["action=accept dsthost=a", "action=accept dsthost=c"]);
    table.update(RuleUpdate::Clients([refusing, accepting].into()));
    table.update(RuleUpdate::Lines(LinesUpdate::Base(compile(&["action=drop dsthost=b"])), RuleTexts::EMPTY));
    assert_eq!([CLIENT, OTHER].map(|client| table.refuses(client, &host("a"))), [true, false]);
    let of_client = RuleOwners::Clients { first: Ipv4Prefix::host(CLIENT), more: 0 };
    let blocked = ["a", "b", "c", "d"].map(|name| table.blocked_by(&host(name)));
    assert_eq!(blocked, [Some(of_client), Some(RuleOwners::All), None, None]);

    let ask = |table: &RuleTable, source| {
        table.outward(&FlowRequest { source, ..to("1.1.1.1", TCP, 80) }).answer == Answer::Accept
    };
    let mut set = |name: &str| {
        table.set_addresses(&host(name), [Ipv4Addr::new(192, 0, 2, 1)].into_iter(), Moment::default())
    };
    assert_eq!(["a", "c"].map(&mut set), [FlowsConcerned::OfThoseWhoRefuse, FlowsConcerned::None]);
    assert_eq!([CLIENT, OTHER].map(|client| ask(&table, client)), [false, false]);
    assert_eq!(table.set_addresses(&host("b"), [].into_iter(), Moment::default()), FlowsConcerned::None);
    assert_eq!([CLIENT, OTHER].map(|client| ask(&table, client)), [true, true]);
    let address = [Ipv4Addr::new(192, 0, 2, 2)];
    assert_eq!(table.set_addresses(&host("b"), address.into_iter(), Moment::default()), FlowsConcerned::All);
    // Of rules that come later what is known counts at once.
    table.update(RuleUpdate::Clients([section(OTHER, &["action=drop dsthost=c"])].into()));
    assert!(ask(&table, OTHER));
}

#[test]
fn a_line_that_has_expired_blocks_nobody_whose_name_is_not_known() {
    let mut table = RuleTable::allow_all().for_qube();
    let section = Section::new(&[], RuleAction::Accept);
    let set = ClientUpdate::Set(ClientSection::new(CLIENT, section, &RuleTexts::EMPTY).into());
    table.update(RuleUpdate::Clients([set].into()));
    let lines = [
        "action=drop dsthost=x expire=1000",
        "action=drop dsthost=x expire=900",
        "action=drop dsthost=y expire=990",
    ];
    table.update(RuleUpdate::Lines(LinesUpdate::Base(compile(&lines)), RuleTexts::EMPTY));
    let host = HostName::parse("x").unwrap();
    for (now, expected) in [(999, Answer::Reject), (1000, Answer::Accept), (999, Answer::Reject)] {
        table.look_at_expiries(UnixSeconds(now));
        let request = FlowRequest { now: UnixSeconds(now), ..to("1.1.1.1", TCP, 80) };
        assert_eq!(table.outward(&request).answer, expected, "{now}");
        assert_eq!(table.blocked_by(&host).is_some(), expected == Answer::Reject);
    }
    // Nor do lines that come when they have expired.
    table.set_clock(UnixSeconds(1000));
    table.update(RuleUpdate::Lines(LinesUpdate::Base(compile(&lines)), RuleTexts::EMPTY));
    assert_eq!(table.outward(&to("1.1.1.1", TCP, 80)).answer, Answer::Accept);
}

#[test]
fn without_a_file_clients_reach_the_outside_but_not_each_other() {
    let table = RuleTable::allow_all();
    assert_eq!(table.outward(&to("1.1.1.1", TCP, 80)).answer, Answer::Accept);
    assert_eq!(table.between(&to("10.137.0.6", TCP, 80)).answer, Answer::Reject);
    assert_eq!(table.port_forward(TCP, 80), None);
}

fn permit(from: &str, to: &str, line: &str) -> Permit {
    let mut rule = compile(&[line]).pop().unwrap();
    rule.destinations = Destinations::Networks([to.parse().unwrap()].into());
    Permit { from: from.parse().unwrap(), rule }
}

#[test]
fn clients_reach_each_other_by_permit_only_and_the_first_decides() {
    let table = RuleTable::new(RuleTableParts {
        default: Some(Section::new(&[], RuleAction::Drop)),
        permits: [
            permit("10.137.0.5", "10.137.0.6", "action=drop proto=tcp dstports=23"),
            permit("10.137.0.0/24", "10.137.0.6", "action=accept proto=tcp"),
        ]
        .into(),
        ..RuleTableParts::default()
    });
    assert_eq!(table.between(&to("10.137.0.6", TCP, 22)).answer, Answer::Accept);
    assert_eq!(table.between(&to("10.137.0.6", TCP, 23)).answer, Answer::Reject);
    assert_eq!(table.between(&to("10.137.0.7", TCP, 22)).answer, Answer::Reject);
    let back = FlowRequest { source: OTHER, ..to("10.137.0.5", TCP, 22) };
    assert_eq!(table.between(&back).answer, Answer::Reject);
    assert_eq!(table.outward(&to("10.137.0.6", TCP, 22)).answer, Answer::Reject);
}

#[test]
fn a_blocked_client_neither_reaches_nor_is_reached() {
    let mut forwards = PortForwards::default();
    let ports = crate::guard::port_range::PortRange::new(80, 80).unwrap();
    let lead =
        crate::guard::forward::PortForward::new(RuleId::in_file(9), TCP, ports, SocketAddrV4::new(OTHER, 80))
            .unwrap();
    forwards.add(lead).unwrap();
    let table = |clients| {
        RuleTable::new(RuleTableParts {
            default: Some(Section::new(&[], RuleAction::Accept)),
            clients,
            permits: [permit("0.0.0.0/0", "0.0.0.0/0", "action=accept")].into(),
            forwards: forwards.clone(),
            ..RuleTableParts::default()
        })
    };
    let there = to("10.137.0.6", TCP, 22);
    let back = FlowRequest { source: OTHER, ..to("10.137.0.5", TCP, 22) };
    let open = table(Vec::new());
    assert_eq!([open.between(&there).answer, open.between(&back).answer], [Answer::Accept; 2]);
    assert!(open.port_forward(TCP, 80).is_some());
    let table = table([(Ipv4Prefix::host(OTHER), Section::BLOCKED)].into());
    assert_eq!([table.between(&there).answer, table.between(&back).answer], [Answer::Reject; 2]);
    assert_eq!(table.port_forward(TCP, 80), None);
    assert_eq!(table.forwarded_ports().collect::<Vec<_>>(), [(TCP, 80)]);
}

/// Reads the rules from the top, straight from the grammar's meaning.
fn model(rules: &[Rule], policy: RuleAction, asked: &FlowRequest) -> Answer {
    let matches = |rule: &&Rule| {
        let dns = rule.special_target == Some(SpecialTarget::Dns);
        let protocol = match rule.protocol {
            Some(Protocol::Tcp) => asked.protocol == TCP,
            Some(Protocol::Udp) => asked.protocol == UDP,
            Some(Protocol::Icmp) => asked.protocol == ICMP,
            None => true,
        };
        let has_ports = asked.protocol == TCP || asked.protocol == UDP;
        let port = asked.destination_port.filter(|_| has_ports);
        rule.expires.is_none_or(|end| asked.now < end)
            && protocol
            && rule.ports.is_none_or(|ports| port.is_some_and(|port| ports.contains(port)))
            && rule.icmp_type.is_none_or(|kind| asked.protocol == ICMP && asked.icmp_type == Some(kind))
            && (!dns || port == Some(53) && RESOLVERS.contains(&asked.destination))
            && match &rule.destination {
                Destination::V4(network) => network.contains(asked.destination),
                _ => true,
            }
    };
    rules.iter().find(matches).map_or(policy, |rule| rule.action).into()
}

/// Rules that meet often: few networks, few ports, few moments.
fn any_rule() -> impl Strategy<Value = String> {
    let action = prop::sample::select(alloc::vec!["accept", "drop"]);
    let what = prop_oneof![
        Just(String::new()),
        prop::sample::select(alloc::vec!["tcp", "udp", "icmp"]).prop_map(|p| format!(" proto={p}")),
        (prop::sample::select(alloc::vec!["tcp", "udp"]), 50u16..70, 0u16..20)
            .prop_map(|(p, first, span)| format!(" proto={p} dstports={first}-{}", first + span)),
        (0u8..4).prop_map(|kind| format!(" proto=icmp icmptype={kind}")),
        prop::sample::select(alloc::vec!["", " proto=tcp", " proto=udp dstports=50-60"])
            .prop_map(|with| format!(" specialtarget=dns{with}")),
    ];
    let destination = prop_oneof![
        Just(String::new()),
        (0u8..8, 24u8..=32).prop_map(|(low, length)| format!(" dst4=10.139.1.{low}/{length}")),
        (0u8..=8).prop_map(|length| format!(" dst4=10.0.0.0/{length}")),
    ];
    let expire = prop_oneof![3 => Just(String::new()), 1 => (0u64..10).prop_map(|t| format!(" expire={t}"))];
    (action, what, destination, expire).prop_map(|(a, w, d, e)| format!("action={a}{w}{d}{e}"))
}

fn any_request() -> impl Strategy<Value = FlowRequest> {
    let protocol = prop::sample::select(alloc::vec![TCP, UDP, ICMP, 50]);
    let destination = prop_oneof![
        8 => (0u8..10).prop_map(|low| Ipv4Addr::new(10, 139, 1, low)),
        1 => any::<u32>().prop_map(Ipv4Addr::from_bits),
    ];
    (destination, protocol, 48u16..92, 0u8..5, 0u64..12).prop_map(
        |(destination, protocol, port, kind, now)| FlowRequest {
            source: CLIENT,
            destination,
            protocol,
            destination_port: Some(port),
            icmp_type: Some(kind),
            now: UnixSeconds(now),
        },
    )
}

proptest! {
    #[test]
    fn a_look_up_agrees_with_reading_the_rules_from_the_top(
        lines in prop::collection::vec(any_rule(), 0..60),
        requests in prop::collection::vec(any_request(), 40),
        policy in prop::sample::select(alloc::vec![RuleAction::Accept, RuleAction::Drop]),
    ) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let rules: Vec<Rule> = lines.iter().map(|line| Rule::parse(line, RuleId::in_file(1)).unwrap()).collect();
        let table = with_default(&lines, policy);
        for request in &requests {
            prop_assert_eq!(table.outward(request).answer, model(&rules, policy, request), "{:?}", request);
        }
    }

    #[test]
    fn permits_agree_with_reading_them_from_the_top(
        permits in prop::collection::vec((0u8..8, 24u8..=32, 0u8..8, 24u8..=32, any_rule()), 0..40),
        requests in prop::collection::vec((any_request(), 0u8..10), 40),
    ) {
        let permits: Vec<Permit> = permits
            .into_iter()
            .map(|(from, from_length, to, to_length, line)| {
                let line = line.split(" dst4").next().unwrap().replace(" specialtarget=dns", "");
                let line = if line.contains("proto=icmp icmptype") { "action=drop" } else { &line };
                permit(&format!("10.1.0.{from}/{from_length}"), &format!("10.139.1.{to}/{to_length}"), line)
            })
            .collect();
        let table = RuleTable::new(RuleTableParts {
            default: Some(Section::new(&[], RuleAction::Drop)),
            permits: permits.clone(),
            ..RuleTableParts::default()
        });
        for (request, low) in requests {
            let request = FlowRequest { source: Ipv4Addr::new(10, 1, 0, low), ..request };
            let service = crate::guard::service::ServiceNumber::of(&request).unwrap();
            let first = permits.iter().find(|permit| {
                permit.from.contains(request.source)
                    && permit.rule.destinations.networks().iter().any(|network| network.contains(request.destination))
                    && permit.rule.services.iter().any(|services| services.contains(service))
                    && permit.rule.lifetime.includes(request.now)
            });
            let expected = first.map_or(Answer::Reject, |permit| permit.rule.action.into());
            prop_assert_eq!(table.between(&request).answer, expected);
        }
    }
}
