//! A daemon that sends anything: no panic, and never more memory than there is for it.

use crate::random::Random;
use ravelin::qubes::message::{MessageType, header};
use ravelin::qubes::{ConfigKind, ProtocolFault, QubesDb, SourceFault};
use ravelin::xen::meter::{Payer, charge, reading, reset};
use std::net::Ipv4Addr;

const BUDGET: usize = 256 << 10;

/// What a client may take: two databases and a list that is being moved, settings and features twice over, and what we write.
const BOUND: i64 = 2 * BUDGET as i64 + (BUDGET / 8) as i64 + (3 << 16);

fn message(kind: u8, path: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = header(MessageType::Write, path, value.len()).to_vec();
    bytes[0] = kind;
    bytes.extend(value);
    bytes
}

/// Hands over bytes and looks at everything that they changed. Whether the connection goes on.
fn take(client: &mut QubesDb, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let _kernel = charge(Payer::Kernel);
        let Ok(taken) = client.take(rest) else { return false };
        let mut seen = 0;
        while let Some(update) = client.next_update() {
            let database = client.database();
            if let ravelin::qubes::Update::Rules(source) = update {
                seen += database.rules_of(source).map_or(0, Iterator::count);
                client.handled(source);
            } else {
                seen += database.settings().mistakes.len() + database.options().count();
                seen += database.mapped().count() + database.connected().count();
            }
        }
        let _ = seen;
        rest = &rest[taken..];
    }
    true
}

fn fresh() -> QubesDb {
    reset();
    let _kernel = charge(Payer::Kernel);
    let mut client = QubesDb::new(BUDGET);
    client.connected();
    client
}

fn reconnect(client: &mut QubesDb) {
    let _kernel = charge(Payer::Kernel);
    client.disconnected();
    client.connected();
}

/// Sends what waits, if the daemon is in the mood to read.
fn send(client: &mut QubesDb, random: &mut Random) {
    let _kernel = charge(Payer::Kernel);
    if random.one_in(3) {
        let count = client.output().len();
        client.sent(random.below(count as u64 + 1) as usize);
    }
}

fn end(client: QubesDb, seed: u64) {
    let peak = reading().peak_bytes;
    assert!(peak <= BOUND, "seed {seed}: {peak} bytes of {BOUND}");
    let _kernel = charge(Payer::Kernel);
    drop(client);
    assert_eq!(reading().live_bytes, 0, "seed {seed}");
}

#[test]
fn random_bytes_are_harmless() {
    for seed in 0..2000 {
        let random = &mut Random::new(seed);
        let mut client = fresh();
        let count = random.below(5000) as usize;
        let _ = take(&mut client, &random.bytes(count));
        end(client, seed);
    }
}

fn any_path(random: &mut Random) -> String {
    let address = format!("10.137.{}.{}", random.below(2), random.below(256));
    match random.below(12) {
        0 => format!("/qubes-firewall/{address}/policy"),
        1..4 => format!("/qubes-firewall/{address}/{:04}", random.below(5000)),
        4 => format!("/qubes-firewall/{address}"),
        5 => format!("/qubes-firewall/{address}/"),
        6 => {
            format!("/vm-config/ravelin-{}{}", random.pick(&["base-", "permit-", "", "x"]), random.below(500))
        }
        7 => format!("/mapped-ip/{address}/{}", random.pick(&["visible-ip", "visible-gateway", "x", ""])),
        8 => random.pick(&["/qubes-ip", "/connected-ips", "/qubes-netmask", "/qubes-random-seed"]).into(),
        9 => random.pick(&["", "/", "//", "/qubes-firewall/", "/vm-config/", "/qubes-firewall//"]).into(),
        10 => format!("/qubes-firewall-handled/{address}"),
        _ => format!("/qubes-firewall/fd09::{:x}", random.below(10000)),
    }
}

fn any_value(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => Vec::new(),
        1 => vec![b'x'; random.below(3072) as usize],
        2 => random.bytes(20),
        3 => b"255.0.255.0".to_vec(),
        4 => random.below(u64::MAX).to_string().into_bytes(),
        5 => "é\u{7f}\u{1b}[2J".into(),
        _ => b"action=accept proto=tcp".to_vec(),
    }
}

#[test]
fn messages_of_any_kind_in_any_order_are_harmless_and_take_no_more_than_there_is() {
    for seed in 0..60 {
        let random = &mut Random::new(seed);
        let mut client = fresh();
        let dump = random.below(4000);
        let kinds: &[u8] = if random.one_in(4) { &[1, 1, 4, 7, 9, 11] } else { &[1, 1, 1, 4, 7] };
        for at in 0..4000 {
            let kind = if at < dump { 11 } else { random.pick(kinds) };
            let mut bytes = message(kind, &any_path(random), &any_value(random));
            if random.one_in(2000) {
                let byte = random.below(72) as usize;
                bytes[byte] = random.bits() as u8;
            }
            if at == dump {
                bytes = message(11, "", b"");
            }
            if !take(&mut client, &bytes) || random.one_in(1000) {
                reconnect(&mut client);
            }
            send(&mut client, random);
        }
        end(client, seed);
    }
}

#[test]
fn a_dump_without_end_fills_what_there_is_and_takes_nothing_from_what_is_in_effect() {
    let mut client = fresh();
    let source = Ipv4Addr::new(10, 0, 0, 1);
    for (path, value) in [("/qubes-firewall/10.0.0.1/policy", "drop"), ("", "")] {
        assert!(take(&mut client, &message(11, path, value.as_bytes())));
    }
    reconnect(&mut client);
    for number in 0..20_000u32 {
        let [_, a, b, c] = number.to_be_bytes();
        assert!(take(&mut client, &message(11, &format!("/qubes-firewall/10.{a}.{b}.{c}/policy"), b"drop")));
    }
    assert_eq!(client.database().rules_of(source).unwrap().count(), 1);
    assert!(take(&mut client, &message(11, "", b"")));
    let database = client.database();
    assert!(database.has_too_many_sources());
    assert!(database.rule_sources().count() > 500);
    // Nobody has said who is there: those count that came last.
    assert!(database.rules_of(Ipv4Addr::new(10, 0, 78, 31)).is_ok());
    let forgotten = database.rules_of(source).map(drop);
    assert_eq!(forgotten, Err(SourceFault::TooLarge), "it may have rules");
    end(client, 0);
}

#[test]
fn a_source_with_too_many_rules_is_marked_and_takes_nothing_from_others() {
    let mut client = fresh();
    let (large, small) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    assert!(take(&mut client, &message(11, "", b"")));
    for number in 0..3000 {
        let path = format!("/qubes-firewall/10.0.0.1/{number:04}");
        assert!(take(&mut client, &message(1, &path, &[b'x'; 100])));
    }
    assert!(take(&mut client, &message(1, "/qubes-firewall/10.0.0.1/policy", b"accept")));
    assert!(take(&mut client, &message(4, "/qubes-firewall/10.0.0.1/0001", b"")));
    let rules = |client: &QubesDb, source| client.database().rules_of(source).map(Iterator::count);
    assert_eq!(rules(&client, large), Err(SourceFault::TooLarge));
    for path in ["/qubes-firewall/10.0.0.2/policy", "/qubes-firewall/10.0.0.2/0001"] {
        assert!(take(&mut client, &message(1, path, &[b'x'; 100])));
    }
    assert_eq!(rules(&client, small), Ok(2));
    assert!(take(&mut client, &message(4, "/qubes-firewall/10.0.0.1/", b"")));
    assert!(take(&mut client, &message(1, "/qubes-firewall/10.0.0.1/policy", b"drop")));
    assert_eq!(rules(&client, large), Ok(1));
    end(client, 0);
}

/// Says which addresses below 10.0.0.0/16 are there, each by its last two bytes.
fn connect(client: &mut QubesDb, numbers: std::ops::Range<u32>) {
    let all: Vec<String> = numbers.map(|number| source(number).to_string()).collect();
    assert!(take(client, &message(1, "/connected-ips", all.join(" ").as_bytes())));
}

fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number)
}

/// dom0 gives a source so many rules of some bytes. How many of its entries are known then.
fn give(client: &mut QubesDb, number: u32, rules: usize, bytes: usize) -> Result<usize, SourceFault> {
    let folder = format!("/qubes-firewall/{}", source(number));
    assert!(take(client, &message(4, &format!("{folder}/"), b"")));
    assert!(take(client, &message(1, &format!("{folder}/policy"), b"drop")));
    for rule in 0..rules {
        assert!(take(client, &message(1, &format!("{folder}/{rule:04}"), &vec![b'x'; bytes])));
    }
    assert!(take(client, &message(1, &folder, b"")));
    client.database().rules_of(source(number)).map(Iterator::count)
}

#[test]
fn whoever_takes_all_that_is_shared_leaves_the_others_their_guaranteed_parts() {
    let mut client = fresh();
    assert!(take(&mut client, &message(11, "", b"")));
    connect(&mut client, 0..103);
    assert_eq!(
        give(&mut client, 0, 2000, 100),
        Err(SourceFault::TooLarge),
        "it may have half of what is shared"
    );
    for number in 0..3 {
        let _ = give(&mut client, number, 600, 90);
    }
    for number in 3..103 {
        assert_eq!(give(&mut client, number, 2, 40), Ok(3));
    }
    end(client, 0);
}

#[test]
fn sources_that_left_give_way_to_those_that_are_there() {
    let mut client = fresh();
    assert!(take(&mut client, &message(11, "", b"")));
    for first in (0..2000).step_by(100) {
        connect(&mut client, first..first + 100);
        for number in first..first + 100 {
            assert_eq!(give(&mut client, number, 3, 100), Ok(4), "{number}");
        }
        let database = client.database();
        assert!((first..first + 100).all(|number| database.rules_of(source(number)).is_ok()));
    }
    let database = client.database();
    assert!(database.has_too_many_sources());
    assert_eq!(database.rules_of(source(0)).map(drop), Err(SourceFault::TooLarge), "it had rules");
    // What stood before this rule may have been forgotten.
    assert!(take(&mut client, &message(1, &format!("/qubes-firewall/{}/0001", source(0)), b"action=accept")));
    assert!(take(&mut client, &message(1, &format!("/qubes-firewall/{}/policy", source(0)), b"accept")));
    assert_eq!(client.database().rules_of(source(0)).map(drop), Err(SourceFault::TooLarge));
    connect(&mut client, 0..1);
    assert_eq!(give(&mut client, 0, 3, 100), Ok(4));
    end(client, 0);
}

#[test]
fn a_dump_after_another_one_knows_who_is_there_before_it_says_so() {
    let mut client = fresh();
    assert!(take(&mut client, &message(11, "", b"")));
    connect(&mut client, 0..50);
    reconnect(&mut client);
    // Those that are there come first, and then more than there is room for that left.
    for number in 0..3000 {
        let path = format!("/qubes-firewall/{}/policy", source(number));
        assert!(take(&mut client, &message(11, &path, &[b'x'; 200])));
    }
    assert!(take(&mut client, &message(11, "/connected-ips", b"10.0.0.1")));
    assert!(take(&mut client, &message(11, "", b"")));
    assert!(client.database().has_too_many_sources());
    assert!((0..50).all(|number| client.database().rules_of(source(number)).is_ok()));
    end(client, 0);
}

#[test]
fn a_client_with_another_visible_address_is_there_under_its_real_one() {
    let mut client = fresh();
    assert!(take(&mut client, &message(11, "", b"")));
    assert_eq!(client.database().present(), None, "nobody has said so");
    for (path, value) in [
        ("/connected-ips", "10.0.0.1 192.168.1.7"),
        ("/mapped-ip/10.0.0.2/visible-ip", "192.168.1.7"),
        ("/mapped-ip/10.0.0.2/visible-gateway", "192.168.1.1"),
        ("/mapped-ip/10.0.0.3/visible-ip", "192.168.1.8"),
    ] {
        assert!(take(&mut client, &message(1, path, value.as_bytes())));
    }
    let there = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 168, 1, 7), Ipv4Addr::new(10, 0, 0, 2)];
    assert_eq!(client.database().present().as_deref(), Some(&there[..]));
    assert!(take(&mut client, &message(1, "/connected-ips", b"")));
    assert_eq!(client.database().present(), Some(vec![]));
    end(client, 0);
}

fn lines(client: &QubesDb, kind: ConfigKind) -> Vec<(String, bool)> {
    client.database().config_lines(kind).map(|(name, line)| (name.to_string(), line.is_ok())).collect()
}

#[test]
fn a_feature_without_room_is_missing_under_its_name_and_no_other_for_it_until_it_is_unset() {
    let mut client = fresh();
    assert!(take(&mut client, &message(11, "", b"")));
    let set = |client: &mut QubesDb, name: &str, bytes: usize| {
        let path = format!("/vm-config/ravelin-{name}");
        assert!(take(client, &message(1, &path, &vec![b'x'; bytes])));
    };
    let unset = |client: &mut QubesDb, name: &str| {
        assert!(take(client, &message(4, &format!("/vm-config/ravelin-{name}"), b"")));
    };
    set(&mut client, "base-2", 100);
    set(&mut client, "permit-1", 100);
    (0..4).for_each(|number| set(&mut client, &format!("forward-{number}"), 2800));
    set(&mut client, "base-1", 3000);
    let expected = [("ravelin-base-1".to_string(), false), ("ravelin-base-2".to_string(), true)];
    assert_eq!(lines(&client, ConfigKind::Base), expected);
    assert_eq!(lines(&client, ConfigKind::Permit), [("ravelin-permit-1".to_string(), true)]);
    // An older value does not count either.
    set(&mut client, "permit-1", 3000);
    assert_eq!(lines(&client, ConfigKind::Permit), [("ravelin-permit-1".to_string(), false)]);
    unset(&mut client, "forward-0");
    assert_eq!(lines(&client, ConfigKind::Base), expected, "dom0 has to say it again");
    unset(&mut client, "base-1");
    assert_eq!(lines(&client, ConfigKind::Base), expected[1..]);
    set(&mut client, "base-1", 100);
    set(&mut client, "permit-1", 100);
    assert!(lines(&client, ConfigKind::Base).iter().all(|(_, is_there)| *is_there));
    assert!(lines(&client, ConfigKind::Permit).iter().all(|(_, is_there)| *is_there));
    end(client, 0);
}

#[test]
fn more_features_than_there_is_room_for_the_names_of_are_missing_of_each_kind() {
    let mut client = fresh();
    assert!(take(&mut client, &message(11, "", b"")));
    for number in 0..1000 {
        let path = format!("/vm-config/ravelin-base-{number:030}");
        assert!(take(&mut client, &message(1, &path, &[b'x'; 3000])));
    }
    let missing = Some((String::new(), false));
    assert_eq!(lines(&client, ConfigKind::Base).last().cloned(), missing);
    assert_eq!(lines(&client, ConfigKind::Permit).last().cloned(), missing);
    assert!(take(&mut client, &message(4, "/vm-config/", b"")));
    assert_eq!(lines(&client, ConfigKind::Permit), []);
    end(client, 0);
}

#[test]
fn what_is_no_text_blocks_its_source_and_no_other() {
    let mut client = fresh();
    assert!(take(&mut client, &message(11, "", b"")));
    for (path, value) in [
        ("/qubes-firewall/10.0.0.1/policy", &b"drop"[..]),
        ("/qubes-firewall/10.0.0.1/0000", b"action=accept\xff"),
        ("/qubes-firewall/10.0.0.2/policy", b"drop"),
        ("/qubes-firewall/10.0.0.3/0000", b"action=accept"),
        ("/qubes-netmask", b"255.0.255.0"),
        ("/qubes-gateway", b"\x1b[2J"),
    ] {
        assert!(take(&mut client, &message(1, path, value)));
    }
    let database = client.database();
    let rules = |last| database.rules_of(Ipv4Addr::new(10, 0, 0, last)).map(Iterator::count);
    let faults = [1, 2, 3, 4].map(rules);
    use SourceFault::{NoPolicy, NotText};
    assert_eq!(faults, [Err(NotText), Ok(1), Err(NoPolicy), Err(NoPolicy)]);
    let mistakes = database.settings().mistakes;
    let said: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["/qubes-gateway is not text", "/qubes-netmask cannot be \"255.0.255.0\""]);
}

#[test]
fn what_no_daemon_sends_ends_the_connection_and_says_why() {
    let fault = |bytes: &[u8]| {
        let mut client = fresh();
        assert!(take(&mut client, &message(11, "", b"")));
        let fault = client.take(bytes).unwrap_err();
        assert_eq!(client.take(bytes), Err(fault), "it stays so");
        fault
    };
    for kind in [0, 2, 3, 5, 6, 8, 10, 12, 255] {
        assert_eq!(fault(&message(kind, "/a", b"")), ProtocolFault::Type(kind));
    }
    assert_eq!(fault(&message(1, "/a", &[0; 3072])[..72]), ProtocolFault::Length(3072));
    assert_eq!(fault(&message(11, "/a", b"")), ProtocolFault::EntryAfterDump);
    for path in ["/a b", "-a", "/é"] {
        assert_eq!(fault(&message(1, path, b"")), ProtocolFault::Path);
    }
    let mut endless = message(1, "/a", b"");
    endless[1..65].fill(b'a');
    assert_eq!(fault(&endless), ProtocolFault::Path);
}

#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    let mut client = fresh();
    assert!(take(&mut client, &message(11, "", b"")));
    for number in 0..10_000 {
        assert!(take(&mut client, &message(1, &format!("/x{number}"), b"")));
    }
    let mut sent = 0;
    while !client.output().is_empty() {
        let count = client.output().len();
        client.sent(count);
        sent += count;
    }
    assert!(sent <= 4096, "{sent} bytes");
    end(client, 0);
}

#[test]
fn ten_thousand_rules_of_fifty_clients_fit_a_domain_of_32_mb() {
    let mut client = QubesDb::new(QubesDb::budget(32 << 20));
    client.connected();
    let rule = b"action=accept dst4=10.11.12.0/24 proto=tcp dstports=443-443";
    for source in 0..50 {
        let put = |name: &str, value: &[u8]| {
            message(11, &format!("/qubes-firewall/10.137.0.{source}/{name}"), value)
        };
        assert!(take(&mut client, &put("policy", b"drop")));
        for number in (0..200).rev() {
            assert!(take(&mut client, &put(&format!("{number:04}"), rule)));
        }
    }
    assert!(take(&mut client, &message(11, "", b"")));
    let database = client.database();
    let counts = database.rule_sources().map(|source| database.rules_of(source).map(Iterator::count));
    assert_eq!(counts.collect::<Vec<_>>(), [Ok(201); 50]);
}
