//! Rule files, good and bad.

use super::problem::{Consequence, SectionName};
use super::*;
use crate::base::time::UnixSeconds;
use crate::guard::rule_id::RuleId;
use crate::guard::ruling::{Answer, FlowRequest, RuledBy, Ruling};
use crate::guard::service::{ICMP, TCP, UDP};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const RESOLVERS: [Ipv4Addr; 1] = [Ipv4Addr::new(10, 139, 1, 1)];

/// The example of docs and README.
const EXAMPLE: &str = "\
# comment
[default]                       # clients without a section of their own
policy=drop
action=accept specialtarget=dns
action=accept proto=tcp dstports=80-80
action=accept proto=tcp dstports=443-443 dst4=0.0.0.0/0

[client 10.137.0.5]             # an address or a prefix; the most specific section wins as a whole
action=accept
[client 10.137.0.6]
action=drop dst4=192.168.0.0/16
action=accept

[permit]                        # client to client; denied otherwise
from=10.137.0.5 to=10.137.0.6 action=accept proto=tcp dstports=22-22

[forward]                       # uplink port to a client
proto=tcp dstports=8080-8080 to=10.137.0.6:80
";

fn good(text: &str) -> RuleTable {
    let (table, problems) = read(text.as_bytes(), &RESOLVERS);
    assert_eq!(problems.list, []);
    table
}

fn bad(text: &str) -> (RuleTable, Vec<String>) {
    let (table, problems) = read(text.as_bytes(), &RESOLVERS);
    assert_eq!(problems.omitted, 0);
    (table, problems.list.iter().map(ToString::to_string).collect())
}

fn ask(source: &str, destination: &str, protocol: u8, number: u16) -> FlowRequest {
    FlowRequest {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol,
        destination_port: (protocol != ICMP).then_some(number),
        icmp_type: (protocol == ICMP).then_some(number as u8),
        now: UnixSeconds(1_700_000_000),
    }
}

fn web(table: &RuleTable, source: &str) -> Answer {
    table.outward(&ask(source, "1.1.1.1", TCP, 443)).answer
}

#[test]
fn the_example_means_what_its_comments_say() {
    let table = good(EXAMPLE);
    let others = "10.137.0.9";
    assert_eq!(web(&table, others), Answer::Accept);
    assert_eq!(table.outward(&ask(others, "10.139.1.1", UDP, 53)).answer, Answer::Accept);
    assert_eq!(table.outward(&ask(others, "1.1.1.1", TCP, 22)).answer, Answer::Reject);
    assert_eq!(table.outward(&ask("10.137.0.5", "1.1.1.1", TCP, 22)).answer, Answer::Accept);
    assert_eq!(table.outward(&ask("10.137.0.6", "192.168.7.7", TCP, 443)).answer, Answer::Reject);
    assert_eq!(table.outward(&ask("10.137.0.6", "1.1.1.1", ICMP, 8)).answer, Answer::Accept);
    assert_eq!(table.between(&ask("10.137.0.5", "10.137.0.6", TCP, 22)).answer, Answer::Accept);
    assert_eq!(table.between(&ask("10.137.0.5", "10.137.0.6", TCP, 80)).answer, Answer::Reject);
    assert_eq!(table.between(&ask("10.137.0.6", "10.137.0.5", TCP, 22)).answer, Answer::Reject);
    let target = table.port_forward(TCP, 8080).unwrap();
    assert_eq!((target.to.to_string().as_str(), target.id), ("10.137.0.6:80", RuleId::in_file(18)));
}

fn rule(line: u32) -> RuledBy {
    RuledBy::Rule(RuleId::in_file(line))
}

#[test]
fn every_ruling_says_on_which_line_it_rests() {
    let table = good(EXAMPLE);
    let others = "10.137.0.9";
    for (source, destination, protocol, number, expected) in [
        (others, "10.139.1.1", UDP, 53, (Answer::Accept, rule(4))),
        (others, "1.1.1.1", TCP, 80, (Answer::Accept, rule(5))),
        (others, "1.1.1.1", TCP, 443, (Answer::Accept, rule(6))),
        // None of the section's: its policy, which is a line of its own.
        (others, "1.1.1.1", TCP, 22, (Answer::Reject, rule(3))),
        ("10.137.0.5", "1.1.1.1", TCP, 22, (Answer::Accept, rule(9))),
        ("10.137.0.6", "192.168.7.7", TCP, 443, (Answer::Reject, rule(11))),
        ("10.137.0.6", "1.1.1.1", ICMP, 8, (Answer::Accept, rule(12))),
    ] {
        let ruling = table.outward(&ask(source, destination, protocol, number));
        assert_eq!((ruling.answer, ruling.by), expected, "{source} to {destination}");
    }
    let between = |port| table.between(&ask("10.137.0.5", "10.137.0.6", TCP, port));
    assert_eq!((between(22).answer, between(22).by), (Answer::Accept, rule(15)));
    assert_eq!((between(80).answer, between(80).by), (Answer::Reject, RuledBy::NoRule));
    assert_eq!(table.port_forward(TCP, 8080).unwrap().id.to_string(), "rules:18");
}

#[test]
fn what_rests_on_no_line_says_that() {
    let by = |table: &RuleTable| table.outward(&ask("10.0.0.1", "1.1.1.1", TCP, 80)).by;
    assert_eq!(by(&good("[default]\naction=drop proto=udp\n")), RuledBy::NoRule);
    assert_eq!(by(&good("")), RuledBy::NoRule);
    assert_eq!(by(&RuleTable::allow_all()), RuledBy::NoRule);
    let (blocked, _) = bad("[default]\naction=accept\naction=\n");
    assert_eq!(by(&blocked), RuledBy::BlockedSection);
    assert_eq!(by(&RuleTable::block_all()), RuledBy::BlockedSection);
}

#[test]
fn a_wrong_permit_refuses_in_the_name_of_its_line() {
    let (table, _) = bad("[default]\n[permit]\nfrom=10.0.0.1 to=10.0.0.9 action=drop port=22\n\
         from=10.0.0.1 to=10.0.0.9 action=accept\n");
    assert_eq!(table.between(&ask("10.0.0.1", "10.0.0.9", TCP, 22)).by, rule(3));
}

#[test]
fn lines_are_counted_as_editors_do() {
    let text = "\u{feff}# é\r\n\r\n[default]\r\n\r\n  # x\r\n\taction=accept\r\n";
    assert_eq!(good(text).outward(&ask("10.0.0.1", "1.1.1.1", TCP, 80)).by, rule(6));
}

#[test]
fn windows_line_ends_byte_order_mark_and_padding_change_nothing() {
    let text = format!("\u{feff}{}\0\0\0", EXAMPLE.replace('\n', "\r\n"));
    assert_eq!(web(&good(&text), "10.137.0.9"), Answer::Accept);
}

#[test]
fn without_a_policy_what_no_rule_accepts_is_refused() {
    assert_eq!(web(&good("[default]\n"), "10.0.0.1"), Answer::Reject);
    assert_eq!(web(&good("[default]\npolicy=accept\n"), "10.0.0.1"), Answer::Accept);
}

#[test]
fn an_empty_file_knows_no_client() {
    for text in ["", "# nothing\n\n"] {
        assert_eq!(web(&good(text), "10.0.0.1"), Answer::Unknown);
    }
}

#[test]
fn f7_a_wrong_rule_blocks_the_clients_of_its_section_only() {
    let (table, problems) = bad(
        "[default]\naction=accept\n[client 10.137.0.6]\naction=accept\naction=accept dport=80\naction=accept\n",
    );
    assert_eq!(
        problems,
        ["rules:5:15: unknown key \"dport\"; expected action, dst4, dst6, dsthost, proto, specialtarget, \
          dstports, icmptype, expire or comment; clients of [client 10.137.0.6] are blocked"]
    );
    assert_eq!(web(&table, "10.137.0.6"), Answer::Reject);
    assert_eq!(web(&table, "10.137.0.5"), Answer::Accept);
}

#[test]
fn a_wrong_default_section_blocks_clients_without_one_of_their_own() {
    let (table, problems) = bad("[default]\naction=allow\n[client 10.137.0.6]\naction=accept\n");
    assert_eq!(
        problems,
        ["rules:2:8: action=\"allow\" cannot be read; expected accept or drop; \
          clients without a section of their own are blocked"]
    );
    assert_eq!(web(&table, "10.137.0.5"), Answer::Reject);
    assert_eq!(web(&table, "10.137.0.6"), Answer::Accept);
}

#[test]
fn f8_a_rule_about_ipv6_blocks_an_ipv4_section() {
    let (table, problems) = bad("[client 10.0.0.1]\naction=accept\n  action=drop dst6=::1\n");
    assert_eq!(
        problems,
        ["rules:3:15: dst6= in the rules of an IPv4 client; expected dst4= or dsthost=; \
          clients of [client 10.0.0.1] are blocked"]
    );
    assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
}

#[test]
fn f12_a_rule_without_action_blocks() {
    let (table, problems) = bad("[default]\nproto=tcp\n");
    assert_eq!(problems.len(), 1);
    assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
}

#[test]
fn q1_what_is_not_a_rule_file_refuses_everything() {
    for text in [
        "action=accept\n[default]\naction=accept\n",
        "[default]\naction=accept\n[clients 10.0.0.1]\naction=drop\n",
        "[default]\naction=accept\n[client 10.0.0.256]\naction=drop\n",
        "[default]\naction=accept\n[client]\n",
        "[default]\naction=accept\n[permit\n",
        "[default] action=accept\n",
        "070701 some other ramdisk",
    ] {
        let (table, problems) = bad(text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].ends_with("; everything is blocked"), "{problems:?}");
        assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
    }
    let (table, problems) = read(b"[default]\naction=accept #\xc3\xa4\xff\n", &RESOLVERS);
    assert_eq!(
        problems.list[0].to_string(),
        "rules:2:17: bytes that are not UTF-8; expected text; everything is blocked"
    );
    assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
}

#[test]
fn an_unknown_header_is_told_with_what_was_expected() {
    let (_, problems) = bad("[default]\n\n  [foo]  # ?\nbar\n");
    assert_eq!(
        problems,
        ["rules:3:3: unknown section \"[foo]\"; expected [default], [client ADDRESS], \
          [client ADDRESS/PREFIX], [permit] or [forward]; everything is blocked"]
    );
}

#[test]
fn a_section_that_comes_twice_blocks_its_clients() {
    let (table, problems) = bad(
        "[client 10.0.0.9/24]\naction=accept\n[default]\naction=accept\n[client 10.0.0.0/24]\naction=accept\n",
    );
    assert_eq!(
        problems,
        [
            "rules:5:1: this section is on line 1 already; expected once; clients of [client 10.0.0.0/24] are blocked"
        ]
    );
    assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
    assert_eq!(web(&table, "10.0.1.1"), Answer::Accept);
}

#[test]
fn a_wrong_or_second_policy_blocks() {
    for lines in ["policy=allow", "policy=accept action=accept", "policy=accept\npolicy=accept", "policy="] {
        let (table, problems) = bad(&format!("[default]\n{lines}\n"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
    }
}

#[test]
fn f2_a_name_that_is_not_resolved_never_opens_anything() {
    let table = good("[default]\naction=accept dsthost=example.com\naction=accept proto=udp\n");
    assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
    assert_eq!(table.outward(&ask("10.0.0.1", "1.1.1.1", UDP, 1)).answer, Answer::Accept);

    let table = good("[default]\naction=drop dsthost=example.com\naction=accept\n");
    assert_eq!(table.outward(&ask("10.0.0.1", "1.1.1.1", TCP, 443)), Ruling::BLOCKED);
}

#[test]
fn what_a_rule_cannot_do_is_told_where_its_key_is() {
    for (line, expected) in [
        ("  action=drop  dst6=::1 proto=tcp", "2:16: dst6="),
        ("action=accept proto=tcp\tdsthost=example..com", "2:25: dsthost= cannot be"),
        ("action=drop comment=é specialtarget=dns", ""),
        ("action=drop proto=udp specialtarget=dns comment=é", "2:23: no name server"),
        ("action=accept dsthost=example.com specialtarget=dns", "2:35: no name server"),
    ] {
        let (_, problems) = read(format!("[default]\n{line}\n").as_bytes(), &[]);
        let problems: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
        match expected {
            "" => assert_eq!(problems, [""; 0]),
            expected => assert!(problems[0].starts_with(&format!("rules:{expected}")), "{problems:?}"),
        }
    }
}

#[test]
fn a_name_that_is_an_address_is_that_address() {
    let table = good("[default]\naction=drop dsthost=1.1.1.1\naction=accept\n");
    assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
    assert_eq!(table.outward(&ask("10.0.0.1", "1.1.1.2", TCP, 443)).answer, Answer::Accept);
}

#[test]
fn what_c_libraries_read_as_an_address_is_no_name_to_be_asked_for() {
    for odd in [
        "192.0.2.001",
        "192.000.002.001",
        "0300.0.2.1",
        "192.0.513",
        "3221225985",
        "0xc0.0.2.0x1",
        "0xc0000201",
        "192.0.2.256",
        "192.0.2.1.",
    ] {
        // A server would say that there is no such host, and 192.0.2.1 would not be refused.
        let (table, problems) = bad(&format!("[default]\naction=drop dsthost={odd}\naction=accept\n"));
        assert!(problems[0].starts_with("rules:2:13: dsthost= cannot be the name"), "{problems:?}");
        assert_eq!(web(&table, "10.0.0.1"), Answer::Reject, "{odd}");
        assert_eq!(table.names().wanted().count(), 0, "{odd}");
        let (table, _) = bad(&format!("[default]\naction=accept dsthost={odd}\naction=accept proto=udp\n"));
        assert_eq!(web(&table, "10.0.0.1"), Answer::Reject, "{odd}");
        assert_eq!(table.outward(&ask("10.0.0.1", "1.1.1.1", UDP, 1)).answer, Answer::Accept, "{odd}");
    }
    for name in ["1.example", "0xcafe.0xyz", "192.0.2.1a", "192-0-2-1"] {
        let table = good(&format!("[default]\naction=accept dsthost={name}\n"));
        assert_eq!(table.names().wanted().count(), 1, "{name}");
    }
}

#[test]
fn dns_without_a_resolver_never_opens_anything() {
    let read = |text: &str| read(text.as_bytes(), &[]);
    let (table, problems) = read("[default]\naction=accept specialtarget=dns\n");
    assert_eq!(problems.list[0].consequence, Consequence::RuleNeverMatches);
    assert_eq!(table.outward(&ask("10.0.0.1", "10.139.1.1", UDP, 53)).answer, Answer::Reject);
    let (table, problems) = read("[default]\naction=drop specialtarget=dns\naction=accept\n");
    assert_eq!(problems.list[0].consequence, Consequence::SectionBlocked(SectionName::Default));
    assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
}

#[test]
fn a_wrong_permit_refuses_at_its_place() {
    let (table, problems) = bad("[default]\n[permit]\n\
         from=10.0.0.1 to=10.0.0.9 action=accept proto=udp\n\
         from=10.0.0.1 to=10.0.0.9 action=drop port=22\n\
         from=10.0.0.0/24 to=10.0.0.0/24 action=accept\n");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("rules:4:39: unknown key \"port\""), "{problems:?}");
    assert!(problems[0].ends_with("; refused from 10.0.0.1 to 10.0.0.9"), "{problems:?}");
    assert_eq!(table.between(&ask("10.0.0.1", "10.0.0.9", UDP, 1)).answer, Answer::Accept);
    assert_eq!(table.between(&ask("10.0.0.1", "10.0.0.9", TCP, 22)).answer, Answer::Reject);
    assert_eq!(table.between(&ask("10.0.0.1", "10.0.0.8", TCP, 22)).answer, Answer::Accept);
}

#[test]
fn a_permit_without_its_ends_ends_the_permits() {
    for (line, expected) in [
        ("action=drop", "3:1: from= is missing"),
        ("from=10.0.0.1 action=drop", "3:15: to= is missing"),
        (
            "from=10.0.0.1 to=somebody action=drop",
            "3:18: to=\"somebody\" cannot be read; expected an address",
        ),
        ("from=10.0.0.1 from=10.0.0.2 action=drop", "3:20: from= for the second time"),
    ] {
        let text = format!("[default]\n[permit]\n{line}\nfrom=0.0.0.0/0 to=0.0.0.0/0 action=accept\n");
        let (table, problems) = bad(&text);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with(&format!("rules:{expected}")), "{problems:?}");
        assert!(problems[0].ends_with("; nothing is permitted from this line on"), "{problems:?}");
        assert_eq!(table.between(&ask("10.0.0.3", "10.0.0.4", TCP, 22)).answer, Answer::Reject);
    }
}

#[test]
fn a_permit_names_its_destination_once() {
    for more in ["dst4=10.0.0.9", "dst6=::1", "dsthost=a", "specialtarget=dns"] {
        let text = format!("[default]\n[permit]\nfrom=10.0.0.1 to=10.0.0.9 action=accept {more}\n");
        let (table, problems) = bad(&text);
        assert!(problems[0].contains("3:27: a destination besides to="), "{problems:?}");
        assert_eq!(table.between(&ask("10.0.0.1", "10.0.0.9", TCP, 22)).answer, Answer::Reject);
    }
}

#[test]
fn a_wrong_forward_forwards_nothing_and_leaves_the_others() {
    for (line, expected) in [
        ("proto=tcp dstports=80", "4:22: to= is missing"),
        ("dstports=80 to=10.0.0.1:80", "4:27: proto= is missing"),
        ("proto=icmp dstports=80 to=10.0.0.1:80", "4:7: proto=\"icmp\" cannot be read; expected tcp or udp"),
        ("proto=tcp dstports=9-8 to=10.0.0.1:80", "4:20: dstports=\"9-8\" cannot be read"),
        ("proto=tcp dstports=80 to=10.0.0.1", "4:26: to=\"10.0.0.1\" cannot be read"),
        ("proto=tcp dstports=80 to=10.0.0.1:80 x=1", "4:38: unknown key \"x=1\""),
        ("proto=tcp proto=tcp", "4:11: proto= for the second time"),
        ("proto=tcp dstports=0 to=10.0.0.1:80", "4:1: port 0"),
        ("proto=tcp dstports=20-30 to=10.0.0.1:80", "4:1: a port is forwarded by another line already"),
    ] {
        let text = format!("[default]\n[forward]\nproto=tcp dstports=22 to=10.0.0.1:22\n{line}\n");
        let (table, problems) = bad(&text);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with(&format!("rules:{expected}")), "{problems:?}");
        assert!(problems[0].ends_with("; nothing is forwarded by this line"), "{problems:?}");
        assert_eq!(table.forwarded_ports().collect::<Vec<_>>(), [(TCP, 22)]);
    }
}

#[test]
fn every_mistake_is_told_up_to_a_bound() {
    let text = format!("[default]\n{}", "nonsense\n".repeat(1_000));
    let (table, problems) = read(text.as_bytes(), &RESOLVERS);
    assert_eq!(
        (problems.list.len(), problems.omitted),
        (problem::MAX_PROBLEMS, 1_000 - problem::MAX_PROBLEMS)
    );
    assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
}

#[test]
fn too_many_rules_block_everything() {
    let text = |count| format!("[default]\n{}", "action=accept\n".repeat(count));
    assert_eq!(web(&good(&text(MAX_RULES)), "10.0.0.1"), Answer::Accept);
    let (table, problems) = bad(&text(MAX_RULES + 1));
    assert_eq!(problems.len(), 1);
    assert_eq!(web(&table, "10.0.0.1"), Answer::Reject);
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(
        text in "((\\[(default|client 10.0.0.[0-9]|permit|forward)\\]|action=accept|from=1.1.1.1 to=2.2.2.2|[a-z0-9=.: #\\[\\]é-]{0,20})\n){0,12}"
    ) {
        let _ = read(text.as_bytes(), &RESOLVERS);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
        let _ = read(&bytes, &RESOLVERS);
    }
}

#[test]
fn a_rule_that_says_the_same_in_its_section_keeps_its_count_and_no_other_does() {
    let before =
        "[default]\naction=drop proto=icmp\naction=accept dst4=10.9.0.1 # the printer\npolicy=drop\n";
    let rule = |line| RuledBy::Rule(RuleId::in_file(line));
    let counted = || {
        let mut table = good(before);
        [rule(2), rule(3), rule(3), rule(4), RuledBy::NoRule].into_iter().for_each(|by| table.count(by));
        table
    };
    let kept = |text: &str| {
        let mut table = good(text);
        table.replace(&mut counted());
        [rule(2), rule(3), rule(4), RuledBy::NoRule].map(|by| table.count_of(by))
    };
    assert_eq!(kept(before), [1, 2, 1, 1]);
    // A comment is no part of a rule.
    assert_eq!(kept(&before.replace(" # the printer", "")), [1, 2, 1, 1]);
    assert_eq!(kept(&before.replace("10.9.0.1", "10.9.0.2")), [1, 0, 1, 0]);
    // The line that it is on does not matter, nor what is around it.
    assert_eq!(kept(&before.replace("icmp\n", "icmp\n\n")), [1, 0, 2, 1]);
    assert_eq!(kept(&before.replace("icmp\n", "icmp\naction=drop proto=udp\n")), [1, 0, 2, 0]);
    assert_eq!(kept("[default]\npolicy=drop\naction=drop proto=icmp\n"), [1, 1, 0, 0]);
    // The same words in another section are another rule.
    assert_eq!(kept(&before.replace("default", "client 10.137.0.5")), [0, 0, 0, 0]);
    assert_eq!(kept("[default]\npolicy=drop\n[client 10.137.0.5]\naction=drop proto=icmp\n"), [1, 0, 0, 0]);
    // Where a file that cannot be read comes between, all begin anew.
    let (mut broken, mut again) = (bad("[default\n").0, good(before));
    broken.replace(&mut counted());
    again.replace(&mut broken);
    assert_eq!([rule(2), rule(3), rule(4), RuledBy::NoRule].map(|by| again.count_of(by)), [0; 4]);
}

#[test]
fn of_rules_that_say_the_same_each_goes_on_from_the_one_in_its_order() {
    let rule = |line| RuledBy::Rule(RuleId::in_file(line));
    let same = "action=accept dst4=10.9.0.1\n";
    let kept = |text: &str| {
        let mut before = good(&format!("[default]\n{same}policy=drop\n{same}"));
        [rule(2), rule(2), rule(3), rule(4)].into_iter().for_each(|by| before.count(by));
        let mut table = good(text);
        table.replace(&mut before);
        [rule(2), rule(3), rule(4), rule(5)].map(|by| table.count_of(by))
    };
    assert_eq!(kept(&format!("[default]\npolicy=drop\n{same}{same}{same}")), [1, 2, 1, 0]);
    assert_eq!(kept(&format!("[default]\n{same}policy=drop\n")), [2, 1, 0, 0]);
}
