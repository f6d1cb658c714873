//! The grammar of rules, by the rows of Qubes' own tests (reference, sections 6.1 and 6.2).

use super::*;
use crate::base::prefix::Ipv4Prefix;
use crate::guard::rule_id::RuleSource;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use core::net::Ipv4Addr;

const IN_QUBESDB: RuleId = RuleId { source: RuleSource::Client(Ipv4Addr::new(10, 137, 0, 5)), line: 3 };

fn read(line: &str) -> Rule {
    Rule::parse(line, RuleId::in_file(1)).unwrap()
}

fn mistake(line: &str) -> String {
    Rule::parse(line, RuleId::in_file(1)).unwrap_err().to_string()
}

#[test]
fn every_key_is_read() {
    let rule =
        read("action=accept proto=tcp dstports=443-1024 dst4=1.2.3.4/24 expire=1700000000 comment=a b");
    assert_eq!(rule.action, RuleAction::Accept);
    assert_eq!(rule.protocol, Some(Protocol::Tcp));
    assert_eq!(rule.ports, PortRange::new(443, 1024));
    assert_eq!(rule.destination, Destination::V4("1.2.3.4/24".parse().unwrap()));
    assert_eq!(rule.expires, Some(UnixSeconds(1_700_000_000)));
    assert_eq!(read("action=drop proto=icmp icmptype=8").icmp_type, Some(8));
    assert_eq!(read("action=drop specialtarget=dns").special_target, Some(SpecialTarget::Dns));
    assert_eq!(
        read("action=drop dsthost=yum.qubes-os.org").destination,
        Destination::Host("yum.qubes-os.org".into())
    );
    let v6 = Destination::V6("a::b".parse().unwrap(), 64);
    assert_eq!(read("action=drop dst6=a::b/64").destination, v6);
}

#[test]
fn an_address_alone_is_one_host() {
    let host = Destination::V4(Ipv4Prefix::host(Ipv4Addr::new(127, 0, 0, 1)));
    assert_eq!(read("action=drop dst4=127.0.0.1").destination, host);
    assert!(matches!(read("action=drop dst6=::1").destination, Destination::V6(_, 128)));
}

#[test]
fn one_port_is_a_range_of_one() {
    assert_eq!(read("action=accept proto=udp dstports=80").ports, PortRange::new(80, 80));
}

#[test]
fn reversed_and_impossible_ports_are_refused() {
    for ports in ["90-80", "65536", "0-65536", "-1", "80-", "-", "", "80:90", "80-90-100", "+80", "http"] {
        let line = format!("action=accept proto=tcp dstports={ports}");
        let error = Rule::parse(&line, RuleId::in_file(1)).unwrap_err();
        assert!(matches!(error.mistake, RuleMistake::Malformed(RuleKey::DstPorts, _)), "{ports}: {error}");
        assert_eq!(error.column, Column(34));
    }
}

#[test]
fn ports_need_tcp_or_udp_and_types_need_icmp_in_the_file() {
    assert_eq!(
        mistake("action=accept dstports=80"),
        "column 15: dstports= without its protocol; expected proto=tcp or proto=udp"
    );
    assert!(mistake("action=accept dstports=80 proto=icmp").contains("proto=tcp"));
    assert!(mistake("action=accept icmptype=8").contains("proto=icmp"));
    assert!(mistake("action=accept proto=tcp icmptype=8").contains("proto=icmp"));
    assert!(Rule::parse("action=accept specialtarget=dns dstports=53", RuleId::in_file(1)).is_ok());
}

#[test]
fn qubesdb_may_leave_the_protocol_unsaid_as_its_agent_does() {
    for line in ["action=accept dstports=80-80", "action=drop icmptype=8"] {
        assert!(Rule::parse(line, IN_QUBESDB).is_ok(), "{line}");
    }
    assert!(Rule::parse("action=accept dstports=80-80 icmptype=8", IN_QUBESDB).is_err());
}

#[test]
fn expire_and_comment_belong_to_the_file() {
    for line in ["action=accept expire=5", "action=accept comment=x"] {
        let error = Rule::parse(line, IN_QUBESDB).unwrap_err();
        assert!(matches!(error.mistake, RuleMistake::FileOnly(_)), "{error}");
    }
}

#[test]
fn a_rule_says_where_it_and_its_keys_are() {
    let id = RuleId { line: 7, ..IN_QUBESDB };
    let (rule, columns) = Rule::from_words(words(" action=drop  dsthost=a proto=tcp"), id).unwrap();
    assert_eq!((rule.id, rule.id.to_string().as_str()), (id, "/qubes-firewall/10.137.0.5/0007"));
    let keys = [RuleKey::Action, RuleKey::DstHost, RuleKey::Proto, RuleKey::Dst4];
    let columns = keys.map(|key| columns.of(key).map(|column| column.0));
    assert_eq!(columns, [Some(2), Some(15), Some(25), None]);
}

#[test]
fn a_comment_takes_the_rest_of_the_line() {
    assert_eq!(read("action=accept comment=web proto=tcp = x").protocol, None);
}

#[test]
fn the_action_is_mandatory_and_first() {
    assert_eq!(mistake("  "), "column 1: the rule has no action; expected action=");
    assert_eq!(
        mistake("proto=tcp action=accept"),
        "column 1: the rule begins with another key; expected action= first"
    );
    assert_eq!(
        mistake("action=forward"),
        "column 8: action=\"forward\" cannot be read; expected accept or drop"
    );
}

#[test]
fn unknown_keys_are_told_with_their_column() {
    assert_eq!(
        mistake("action=accept dport=80"),
        "column 15: unknown key \"dport\"; expected action, dst4, dst6, dsthost, proto, specialtarget, \
         dstports, icmptype, expire or comment"
    );
    assert_eq!(mistake("action=accept tcp"), "column 15: \"tcp\" has no value; expected key=value");
}

#[test]
fn a_rule_has_one_destination_and_every_key_once() {
    for second in ["dst4=1.1.1.1 dst6=::1", "dst4=1.1.1.1 dsthost=a", "dsthost=a dst6=::1"] {
        assert!(mistake(&format!("action=drop {second}")).contains("second destination"), "{second}");
    }
    assert!(mistake("action=drop proto=tcp proto=tcp").contains("second time"));
    assert!(mistake("action=drop dst4=1.1.1.1 dst4=1.1.1.1").contains("second time"));
}

#[test]
fn values_outside_the_grammar_are_refused() {
    for pair in [
        "dst4=1.2.3.4/33",
        "dst4=::1",
        "dst4=host",
        "dst6=1.2.3.4",
        "dst6=::1/129",
        "dsthost=UPPER",
        "dsthost=a/b",
        "dsthost=",
        "proto=sctp",
        "specialtarget=ntp",
        "icmptype=256",
        "expire=soon",
        "expire=-1",
    ] {
        let error = Rule::parse(&format!("action=drop {pair}"), RuleId::in_file(1)).unwrap_err();
        assert!(matches!(error.mistake, RuleMistake::Malformed(..)), "{pair}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(line in "(action=(accept|drop)?)?[ a-z0-9=./:#é-]{0,60}") {
        let _ = Rule::parse(&line, RuleId::in_file(1));
        let _ = Rule::parse(&line, IN_QUBESDB);
    }
}
