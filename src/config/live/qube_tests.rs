//! What QubesDB says is in effect, what it says again is no change, and what is wrong hurts nobody else.

use super::*;
use crate::base::text::Excerpt;
use crate::config::command_line::CommandLine;
use crate::config::limits::ClientLimits;
use crate::config::rule_config::{RuleConfig, RulesReport};
use crate::guard::RuleTable;
use crate::guard::ruling::{Answer, FlowRequest};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};

const ALICE: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 5);
const BOB: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 6);
const MEMORY: u64 = 32 << 20;

/// A qube and its rule table.
struct Qube {
    live: Live,
    table: RuleTable,
}

impl Qube {
    fn new(file: &'static str) -> Self {
        let rules = match file {
            "" => RuleConfig::None,
            _ => RuleConfig::File(Cow::Borrowed(file.as_bytes())),
        };
        let live = Live::boot_qube(&CommandLine::default(), rules, MEMORY);
        let (table, _) = live.compile_rules();
        Self { live, table }
    }

    /// What `act` changes is taken up. What changed, and what is wrong, in lines.
    fn told(&mut self, act: impl FnOnce(&mut Live, &mut ChangeQueue)) -> Vec<String> {
        let mut changes = ChangeQueue::default();
        act(&mut self.live, &mut changes);
        let mut lines = Vec::new();
        while let Some(change) = changes.pop() {
            match change {
                Change::LiveRules(update, report) => {
                    lines.push(format!("{:?}", report.subject));
                    lines.extend(report.problems.list.iter().map(ToString::to_string));
                    self.table.update(*update);
                }
                Change::Rules(mut table, report) => {
                    lines.push(match &*report {
                        RulesReport::Read { passed_over: 1.., .. } => "rules, sections passed over".into(),
                        _ => "rules".into(),
                    });
                    table.replace(&mut self.table);
                    self.table = *table;
                }
                Change::OptionRefused(mistake) => lines.push(mistake.to_string()),
                Change::Refused(refused) => lines.push(refused.to_string()),
                other => lines.push(format!("{other:?}")),
            }
        }
        lines
    }

    /// The rules of one client come.
    fn rules(&mut self, client: Ipv4Addr, lines: &[(&str, &str)]) -> Vec<String> {
        self.told(|live, changes| {
            let said = [(client, ClientRules::Lines(lines.iter().copied()))];
            live.set_client_rules(Scope::These, said.into_iter(), changes);
        })
    }

    /// All rules come.
    fn dump(&mut self, clients: &[(Ipv4Addr, &[(&str, &str)])]) -> Vec<String> {
        self.told(|live, changes| {
            let said =
                clients.iter().map(|(client, lines)| (*client, ClientRules::Lines(lines.iter().copied())));
            live.set_client_rules(Scope::All, said, changes);
        })
    }

    fn lines(&mut self, kind: FeatureLines, lines: &[(&str, &str)]) -> Vec<String> {
        self.told(|live, changes| {
            live.set_lines(kind, lines.iter().map(|(name, line)| (*name, Some(*line))), changes);
        })
    }

    fn asks(&self, source: Ipv4Addr, destination: &str, port: u16) -> Answer {
        self.table.outward(&request(source, destination, port)).answer
    }

    fn reaches(&self, source: Ipv4Addr, destination: Ipv4Addr, port: u16) -> Answer {
        self.table.between(&request(source, &destination.to_string(), port)).answer
    }
}

fn request(source: Ipv4Addr, destination: &str, port: u16) -> FlowRequest {
    FlowRequest {
        source,
        destination: destination.parse().unwrap(),
        protocol: 6,
        destination_port: Some(port),
        icmp_type: None,
        now: crate::base::time::UnixSeconds(1_000),
    }
}

const OPEN: &[(&str, &str)] = &[("0000", "action=accept"), ("policy", "drop")];
const WEB: &[(&str, &str)] = &[("0003", "action=accept proto=tcp dstports=80-80"), ("policy", "drop")];

#[test]
fn a_client_is_unknown_until_its_rules_come_and_after_they_are_gone() {
    let mut qube = Qube::new("[default]\npolicy=accept\n[client 10.137.0.5]\npolicy=accept\n");
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Unknown);
    let changed = "Clients(ChangedClients { changed: 1, gone: 0, left_out: 0 })";
    assert_eq!(qube.rules(ALICE, WEB), [changed]);
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Accept);
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 81), Answer::Reject);
    assert_eq!(qube.asks(BOB, "192.0.2.1", 80), Answer::Unknown);
    // A dump that lacks it takes its rules away, together with what else it changes.
    assert_eq!(qube.dump(&[(BOB, OPEN)]), ["Clients(ChangedClients { changed: 1, gone: 1, left_out: 0 })"]);
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Unknown);
    assert_eq!(qube.asks(BOB, "192.0.2.1", 81), Answer::Accept);
}

#[test]
fn what_is_said_again_is_no_change() {
    let mut qube = Qube::new("");
    qube.dump(&[(ALICE, WEB), (BOB, OPEN)]);
    qube.lines(FeatureLines::Base, &[("lan", "action=drop dst4=10.0.0.0/8")]);
    assert_eq!(qube.dump(&[(ALICE, WEB), (BOB, OPEN)]), [""; 0]);
    assert_eq!(qube.rules(ALICE, WEB), [""; 0]);
    assert_eq!(qube.lines(FeatureLines::Base, &[("lan", "action=drop dst4=10.0.0.0/8")]), [""; 0]);
    let gone = |live: &mut Live, changes: &mut ChangeQueue| {
        let none: ClientRules<core::iter::Empty<(&str, &str)>> = ClientRules::None;
        let unknown = Ipv4Addr::new(10, 137, 0, 9);
        live.set_client_rules(Scope::These, [(unknown, none)].into_iter(), changes);
    };
    assert_eq!(qube.told(gone), [""; 0]);
}

#[test]
fn a_mistake_blocks_its_client_and_nobody_else() {
    let wrong: [(&[(&str, &str)], &str); 9] = [
        (&[("0000", "action=accept")], "/qubes-firewall/10.137.0.5:1: policy is missing"),
        (&[], "/qubes-firewall/10.137.0.5:1: policy is missing"),
        (
            &[("policy", "reject")],
            "/qubes-firewall/10.137.0.5/policy:1: policy=\"reject\" cannot be read; expected accept or drop, \
             alone on its line",
        ),
        (
            &[("0000", ""), ("policy", "accept")],
            "/qubes-firewall/10.137.0.5/0000:1: the rule has no action; expected action=",
        ),
        (
            &[("0001", "dst4=1.2.3.4"), ("policy", "accept")],
            "/qubes-firewall/10.137.0.5/0001:13: the rule has no action; expected action=",
        ),
        (
            &[("12", "action=accept"), ("policy", "accept")],
            "/qubes-firewall/10.137.0.5:1: \"12\" is no key of a rule; expected policy or four digits",
        ),
        (
            &[("0001", "action=drop action=drop"), ("policy", "accept")],
            "/qubes-firewall/10.137.0.5/0001:13: action= for the second time; expected once",
        ),
        (
            &[("0001", "action=accept dst6=::1/128"), ("policy", "accept")],
            "/qubes-firewall/10.137.0.5/0001:15: dst6= in the rules of an IPv4 client; expected dst4= or dsthost=",
        ),
        (
            &[("0001", "action=accept\n0002 action=accept"), ("policy", "accept")],
            "/qubes-firewall/10.137.0.5:1: it cannot be read; expected text of a limited size",
        ),
    ];
    for (lines, mistake) in wrong {
        let mut qube = Qube::new("");
        qube.dump(&[(ALICE, OPEN), (BOB, OPEN)]);
        let told = qube.rules(ALICE, lines);
        assert_eq!(told.get(1..), Some(&[format!("{mistake}; 10.137.0.5 is blocked")][..]));
        assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Reject, "{mistake}");
        assert_eq!(qube.asks(BOB, "192.0.2.1", 80), Answer::Accept);
        // The same mistake once more is said no more, and the next rules are in effect.
        assert_eq!(qube.rules(ALICE, lines), [""; 0]);
        qube.rules(ALICE, WEB);
        assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Accept);
    }
}

#[test]
fn the_parts_of_a_client_s_rule_may_come_in_any_order() {
    let mut qube = Qube::new("");
    let lines = [("0000", "dstports=80-80 dst4=192.0.2.0/24 proto=tcp action=accept"), ("policy", "drop")];
    qube.rules(ALICE, &lines);
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Accept);
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 81), Answer::Reject);
}

#[test]
fn base_rules_are_asked_before_each_client_s_own() {
    let mut qube = Qube::new("");
    qube.dump(&[(ALICE, OPEN), (BOB, &[("policy", "drop")])]);
    let base = [
        ("ravelin-base-1", "action=accept dst4=10.0.0.53 proto=tcp dstports=53-53"),
        ("ravelin-base-2", "action=drop dst4=10.0.0.0/8"),
        ("ravelin-base-3", " "),
    ];
    assert_eq!(qube.lines(FeatureLines::Base, &base), ["Lines(Base, 2)"]);
    for client in [ALICE, BOB] {
        assert_eq!(qube.asks(client, "10.0.0.53", 53), Answer::Accept);
        assert_eq!(qube.asks(client, "10.0.0.54", 53), Answer::Reject);
    }
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 53), Answer::Accept);
    assert_eq!(qube.asks(BOB, "192.0.2.1", 53), Answer::Reject);
    // They let nobody in that has no rules, or wrong ones.
    assert_eq!(qube.asks(Ipv4Addr::new(10, 137, 0, 7), "10.0.0.53", 53), Answer::Unknown);
    qube.rules(ALICE, &[]);
    assert_eq!(qube.asks(ALICE, "10.0.0.53", 53), Answer::Reject);
    qube.lines(FeatureLines::Base, &[]);
    assert_eq!(qube.asks(BOB, "10.0.0.53", 53), Answer::Reject);
}

#[test]
fn a_wrong_base_rule_refuses_what_those_before_it_do_not_decide() {
    let mut qube = Qube::new("");
    qube.rules(ALICE, OPEN);
    let base = [
        ("ravelin-base-1", "action=accept dst4=192.0.2.1"),
        ("ravelin-base-2", "action=drop dst4=10.0.0.0/33"),
        ("ravelin-base-3", "action=accept"),
    ];
    assert_eq!(
        qube.lines(FeatureLines::Base, &base),
        [
            "Lines(Base, 3)",
            "vm-config \"ravelin-base-2\":18: dst4=\"10.0.0.0/33\" cannot be read; expected an IPv4 address or \
             network, as 10.0.0.0/8; clients are refused what the base rules before this one do not decide",
        ]
    );
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Accept);
    assert_eq!(qube.asks(ALICE, "192.0.2.2", 80), Answer::Reject);
    // Nor does one that is no text leave its place to others.
    let set = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_lines(FeatureLines::Base, [("a", None), ("b", Some("action=accept"))].into_iter(), changes);
    };
    assert_eq!(qube.told(set).len(), 2);
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Reject);
}

#[test]
fn permits_of_qubesdb_come_before_those_of_the_file() {
    let file = "[permit]\nfrom=10.137.0.5 to=10.137.0.6 action=accept\n";
    let mut qube = Qube::new(file);
    qube.dump(&[(ALICE, OPEN), (BOB, OPEN)]);
    assert_eq!(qube.reaches(ALICE, BOB, 22), Answer::Accept);
    let no_ssh = "from=10.137.0.0/24 to=10.137.0.6 action=drop proto=tcp dstports=22";
    qube.lines(FeatureLines::Permit, &[("a", no_ssh)]);
    assert_eq!(qube.reaches(ALICE, BOB, 22), Answer::Reject);
    assert_eq!(qube.reaches(ALICE, BOB, 23), Answer::Accept);
    assert_eq!(qube.reaches(BOB, ALICE, 23), Answer::Reject);
    let told = qube.lines(FeatureLines::Permit, &[("a", "from=10.137.0.5 to=somebody action=accept")]);
    assert!(told.iter().any(|line| line.ends_with("; nothing is permitted from this line on")), "{told:?}");
    assert_eq!(qube.reaches(ALICE, BOB, 23), Answer::Reject);
    qube.lines(FeatureLines::Permit, &[("a", "")]);
    assert_eq!(qube.reaches(ALICE, BOB, 22), Answer::Accept);
}

#[test]
fn forwards_of_qubesdb_lead_before_those_of_the_file() {
    let file = "[forward]\nproto=tcp dstports=8000-8002 to=10.137.0.5:80\n";
    let mut qube = Qube::new(file);
    qube.dump(&[(ALICE, OPEN), (BOB, OPEN)]);
    let lead = |qube: &Qube| {
        [8000, 8001, 8002].map(|port| qube.table.port_forward(6, port).map(|target| target.to.to_string()))
    };
    let own = ["10.137.0.5:80", "10.137.0.5:81", "10.137.0.5:82"].map(|to| Some(to.to_string()));
    assert_eq!(lead(&qube), own);
    qube.lines(FeatureLines::Forward, &[("a", "proto=tcp dstports=8001-8001 to=10.137.0.6:443")]);
    let [first, _, last] = own.clone();
    assert_eq!(lead(&qube), [first, Some("10.137.0.6:443".into()), last]);
    // The rule file is read again: what QubesDB says stays.
    let resolvers = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_resolvers(Source::QubesDb, Some([ALICE].into_iter().collect()), changes);
    };
    assert_eq!(qube.told(resolvers)[1..], ["rules"]);
    assert_eq!(lead(&qube)[1].as_deref(), Some("10.137.0.6:443"));
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Accept);
    qube.lines(FeatureLines::Forward, &[]);
    assert_eq!(lead(&qube), own);
}

#[test]
fn other_resolvers_compile_what_is_about_them_and_nothing_else() {
    let mut qube = Qube::new("");
    let dns = [("0000", "action=accept specialtarget=dns"), ("policy", "drop")];
    let told = qube.dump(&[(ALICE, &dns), (BOB, OPEN)]);
    assert!(told.iter().any(|line| line.ends_with("this rule never matches")), "{told:?}");
    assert_eq!(qube.asks(ALICE, "10.139.1.1", 53), Answer::Reject);
    let resolvers = |live: &mut Live, changes: &mut ChangeQueue| {
        let resolvers = [Ipv4Addr::new(10, 139, 1, 1)].into_iter().collect();
        live.set_resolvers(Source::QubesDb, Some(resolvers), changes);
    };
    let changed = "Clients(ChangedClients { changed: 1, gone: 0, left_out: 0 })";
    assert_eq!(qube.told(resolvers), ["Resolvers([10.139.1.1])", "rules", changed]);
    assert_eq!(qube.asks(ALICE, "10.139.1.1", 53), Answer::Accept);
    assert_eq!(qube.told(resolvers), [""; 0]);
}

/// So many rules with long lines.
fn many(rules: usize) -> Vec<(String, String)> {
    let line = format!("action=accept dst4=192.0.2.1{:300}", "");
    (0..rules).map(|number| (format!("{number:04}"), line.clone())).collect()
}

fn accepting(rules: &[(String, String)]) -> Vec<(&str, &str)> {
    let rules = rules.iter().map(|(key, line)| (key.as_str(), line.as_str()));
    rules.chain([("policy", "accept")]).collect()
}

fn is_blocked(told: &[String]) -> bool {
    told.iter().any(|line| line.contains("no memory for so many rules"))
}

#[test]
fn a_client_with_too_many_rules_is_blocked_and_takes_nothing_from_others() {
    let mut qube = Qube::new("");
    let many = many(9_999);
    let greedy = accepting(&many);
    let told = qube.rules(ALICE, &greedy);
    assert!(told.iter().any(|line| line.ends_with("10.137.0.5 is blocked")) && is_blocked(&told), "{told:?}");
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Reject);
    assert_eq!(qube.rules(ALICE, &greedy), [""; 0]);
    assert_eq!(qube.rules(BOB, OPEN).len(), 1);
    assert_eq!(qube.asks(BOB, "192.0.2.1", 80), Answer::Accept);
}

#[test]
fn clients_that_are_there_have_their_part_whatever_others_and_those_that_left_hold() {
    let mut qube = Qube::new("");
    let many = many(9_999);
    let greedy = accepting(&many);
    let there = |numbers: core::ops::Range<u32>| {
        Some(numbers.map(|number| Ipv4Addr::from_bits(BOB.to_bits() + number)).collect::<Vec<_>>())
    };
    let client = |number: u32| Ipv4Addr::from_bits(BOB.to_bits() + number);
    // A hundred come and go, each with some rules, and again as many.
    for first in [0, 100, 200, 300] {
        qube.told(|live, changes| live.set_present(there(first..first + 100), changes));
        for number in first..first + 100 {
            assert!(!is_blocked(&qube.rules(client(number), &greedy[9_999 - 40..])), "{number}");
            assert_eq!(qube.asks(client(number), "192.0.2.1", 80), Answer::Accept);
        }
    }
    // Of those that left the first are unknown now.
    assert_eq!(qube.asks(client(0), "192.0.2.1", 80), Answer::Unknown);
    assert_eq!(qube.asks(client(299), "192.0.2.1", 80), Answer::Accept);
    // Two that are greedy have what all share, and those that are there their part.
    qube.told(|live, changes| live.set_present(there(400..410), changes));
    assert!(!is_blocked(&qube.rules(client(400), &greedy[9_999 - 2_000..])));
    assert!(is_blocked(&qube.rules(client(401), &greedy[9_999 - 4_000..])));
    assert!(!is_blocked(&qube.rules(client(401), &greedy[9_999 - 2_000..])));
    assert!(!is_blocked(&qube.rules(client(402), &greedy[9_999 - 10..])));
    // One that comes back is unknown until its rules are said again.
    qube.told(|live, changes| live.set_present(there(0..10), changes));
    assert_eq!(qube.asks(client(0), "192.0.2.1", 80), Answer::Unknown);
    qube.rules(client(0), WEB);
    assert_eq!(qube.asks(client(0), "192.0.2.1", 80), Answer::Accept);
}

#[test]
fn clients_without_a_place_are_said_once() {
    let mut qube = Qube::new("");
    qube.told(|live, changes| live.set_present(Some(Vec::new()), changes));
    let clients: Vec<_> =
        (0..20_000).map(|number| (Ipv4Addr::from_bits(ALICE.to_bits() + number), OPEN)).collect();
    let told = qube.dump(&clients);
    assert!(told[0].contains("left_out") && !told[0].contains("left_out: 0"), "{told:?}");
    assert_eq!(qube.asks(clients[19_999].0, "192.0.2.1", 80), Answer::Unknown);
    assert_eq!(qube.dump(&clients), [""; 0]);
    assert_eq!(qube.asks(clients[100].0, "192.0.2.1", 80), Answer::Accept);
}

#[test]
fn qubesdb_s_address_goes_before_the_device_s() {
    let mut qube = Qube::new("");
    let (device, own) = (Ipv4Addr::new(10, 137, 0, 40), Ipv4Addr::new(10, 137, 0, 50));
    let gateway = Ipv4Addr::new(10, 138, 9, 9);
    qube.told(|live, changes| live.set_device_address(Some(device), changes));
    let set = |address: Option<Ipv4Addr>| {
        move |live: &mut Live, changes: &mut ChangeQueue| {
            let ours = address.map(crate::base::prefix::Ipv4Prefix::host);
            live.set_uplink(Source::QubesDb, ours, address.map(|_| gateway), changes);
        }
    };
    qube.told(set(Some(own)));
    let route = qube.live.route().unwrap();
    assert_eq!((route.address().address(), route.address().length(), route.gateway()), (own, 32, gateway));
    assert_eq!(qube.live.address().map(|(_, source)| source), Some(Source::QubesDb));
    // Without a netvm clients know us all the same.
    let clients = Ipv4Addr::new(10, 138, 1, 1);
    qube.told(|live, changes| live.set_client_gateway(Source::QubesDb, Some(clients), changes));
    qube.told(set(None));
    assert_eq!((qube.live.route(), qube.live.client_gateway()), (None, clients));
}

#[test]
fn an_address_that_cannot_be_is_refused_once_however_often_it_is_said() {
    let mut qube = Qube::new("");
    let set = |octet: u8| {
        move |live: &mut Live, changes: &mut ChangeQueue| {
            let ours = crate::base::prefix::Ipv4Prefix::host(Ipv4Addr::new(octet, 0, 0, 1));
            live.set_uplink(Source::QubesDb, Some(ours), Some(BOB), changes);
            live.set_client_gateway(Source::QubesDb, Some(ALICE), changes);
        }
    };
    let refused = "our address on the uplink cannot be 127.0.0.1: 127.0.0.0/8 is the loopback network";
    assert_eq!(qube.told(set(127)).first().map(String::as_str), Some(refused));
    assert_eq!(qube.told(set(127)), [""; 0]);
    assert_eq!(qube.told(set(10)).len(), 1);
    assert_eq!(qube.told(set(127)), [refused]);
}

#[test]
fn options_are_set_from_text_and_what_cannot_be_read_is_said_once() {
    let mut qube = Qube::new("");
    let set = |name, text: Option<&'static str>| {
        move |live: &mut Live, changes: &mut ChangeQueue| {
            live.set_option(Source::QubesDb, name, text, changes)
        }
    };
    let defaults = qube.live.settings().quotas;
    qube.told(|live, changes| {
        let limits = ClientLimits { ports: Some(200), ..ClientLimits::default() };
        live.set_limits(Source::Boot, Some(limits), changes);
    });
    assert_eq!(qube.told(set(OptionName::ClientFlows, Some("77"))).len(), 1);
    let quotas = qube.live.settings().quotas;
    assert_eq!((quotas.flows_per_client, quotas.ports_per_client), (77, 200));
    assert_eq!(qube.told(set(OptionName::ClientFlows, Some("77"))), [""; 0]);
    let mistake = OptionMistake::Malformed(OptionName::ClientFlows, Excerpt::of("many")).to_string();
    let told = qube.told(set(OptionName::ClientFlows, Some("many")));
    assert_eq!((told.len(), told.last()), (2, Some(&mistake)));
    assert_eq!(qube.live.settings().quotas.flows_per_client, defaults.flows_per_client);
    assert_eq!(qube.told(set(OptionName::ClientFlows, Some("many"))), [""; 0]);
    assert_eq!(qube.told(set(OptionName::ClientFlows, Some(""))), [""; 0]);
    assert_eq!(qube.told(set(OptionName::ClientFlows, Some("many"))), [mistake]);
    assert_eq!(qube.told(set(OptionName::Log, Some("debug"))), ["LogLevel(Debug)"]);
    assert_eq!(qube.told(set(OptionName::Log, None)), ["LogLevel(Info)"]);
    assert_eq!(qube.told(set(OptionName::UplinkPings, Some("ignore"))).len(), 1);
}

#[test]
fn a_seed_that_is_said_again_is_no_change() {
    let mut qube = Qube::new("");
    let seed = |bytes: &'static [u8]| {
        move |live: &mut Live, changes: &mut ChangeQueue| live.set_random_seed(bytes, changes)
    };
    assert_eq!(qube.told(seed(b"abc")), ["RandomSeed(Seed(_))"]);
    assert_eq!(qube.told(seed(b"abc")), [""; 0]);
    assert_eq!(qube.told(seed(b"abd")).len(), 1);
}

#[test]
fn a_domain_becomes_a_qube_while_it_runs() {
    let rules = RuleConfig::File(Cow::Borrowed(b"[default]\npolicy=accept\n"));
    let live = Live::boot(&CommandLine::default(), rules, MEMORY);
    let (table, _) = live.compile_rules();
    let mut qube = Qube { live, table };
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Accept);
    let become_one =
        |live: &mut Live, changes: &mut ChangeQueue| live.set_sections(SectionsOf::QubesDb, changes);
    assert_eq!(qube.told(become_one), ["rules, sections passed over"]);
    assert_eq!(qube.asks(ALICE, "192.0.2.1", 80), Answer::Unknown);
    // That is said once.
    let resolvers = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_resolvers(Source::QubesDb, Some([ALICE].into_iter().collect()), changes);
    };
    assert_eq!(qube.told(resolvers)[1..], ["rules"]);
    assert_eq!(qube.told(become_one), [""; 0]);
}
