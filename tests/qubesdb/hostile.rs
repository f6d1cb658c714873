//! A daemon that sends anything: no panic, and never more memory than there is for it.

use crate::random::Random;
use ravelin::qubes::message::{MessageType, header};
use ravelin::qubes::{ProtocolFault, QubesDb, SourceFault};
use ravelin::xen::meter::{Payer, charge, reading, reset};
use std::net::Ipv4Addr;

pub const BUDGET: usize = 256 << 10;

/// What a client may take: two databases and a list that is being moved, settings and features twice over, and what we write.
const BOUND: i64 = 2 * BUDGET as i64 + (BUDGET / 8) as i64 + (3 << 16);

pub fn message(kind: u8, path: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = header(MessageType::Write, path, value.len()).to_vec();
    bytes[0] = kind;
    bytes.extend(value);
    bytes
}

/// Hands over bytes and looks at everything that they changed. Whether the connection goes on.
pub fn take(client: &mut QubesDb, bytes: &[u8]) -> bool {
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
        std::hint::black_box(seen);
        rest = &rest[taken..];
    }
    true
}

pub fn fresh() -> QubesDb {
    reset();
    let _kernel = charge(Payer::Kernel);
    let mut client = QubesDb::new(BUDGET);
    client.connected();
    client
}

pub fn reconnect(client: &mut QubesDb) {
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

pub fn end(client: QubesDb, seed: u64) {
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
