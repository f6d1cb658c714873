//! An honest daemon: whatever dom0 does and wherever a connection ends, the client knows what the daemon has, takes no half
//! list of rules for a whole one, and says nothing that ends the daemon.

use crate::pair::{Act, Entries, Pair, RING, reload, view};
use crate::random::Random;
use ravelin::qubes::{ConfigKind, Update};
use std::net::Ipv4Addr;

const SOURCES: [&str; 6] =
    ["10.137.0.5", "10.137.0.6", "10.138.1.1", "10.138.255.2", "fd09:24ef:4179::a89:5", "not-an-address"];

/// What dom0 writes before a qube runs.
fn at_start() -> Entries {
    let entries = [
        ("/name", "fw"),
        ("/type", "StandaloneVM"),
        ("/qubes-base-template", ""),
        ("/qubes-random-seed", "cmFuZG9t"),
        ("/qubes-netvm-gateway", "10.137.0.9"),
        ("/qubes-netvm-primary-dns", "10.139.1.1"),
        ("/qubes-ip", "10.137.0.9"),
        ("/qubes-netmask", "255.255.255.255"),
        ("/qubes-gateway", "10.137.0.4"),
        ("/qubes-primary-dns", "10.139.1.1"),
        ("/qubes-secondary-dns", "10.139.1.2"),
        ("/connected-ips", "10.137.0.5 10.137.0.6"),
        ("/vm-config/ravelin-log", "debug"),
        ("/vm-config/other", "1"),
        ("/qubes-service/meminfo-writer", "0"),
    ];
    entries.into_iter().map(|(path, value)| (path.into(), value.into())).collect()
}

/// Something that dom0 begins.
fn begin(pair: &mut Pair, random: &mut Random) {
    let write = |path: &str, value: String| Act::Write(path.into(), value);
    let number = random.below(4);
    let acts = match random.below(9) {
        0..4 => reload(random.pick(&SOURCES), random),
        4 => vec![
            write("/qubes-ip", format!("10.137.0.{}", 9 + number)),
            write("/qubes-gateway", format!("10.137.1.{}", 1 + number)),
        ],
        5 => vec![write("/connected-ips", format!("10.137.0.5 10.137.0.{}", 6 + number))],
        6 => vec![write(&format!("/vm-config/ravelin-base-{number}"), "action=drop dst4=10.0.0.0/8".into())],
        7 => {
            vec![Act::Remove(format!("/vm-config/ravelin-base-{number}")), Act::Remove("/mapped-ip/".into())]
        }
        _ => vec![write(&format!("/mapped-ip/10.137.0.{}/visible-ip", 5 + number), "192.168.1.1".into())],
    };
    pair.acts.extend(acts);
}

#[test]
fn knows_what_the_daemon_has_after_any_order_of_events() {
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        let mut pair = Pair::new(at_start());
        let (most, restarts) = (random.pick(&[1, 30, 73, 500, RING as u64]), random.pick(&[0, 300, 2000]));
        for _ in 0..1500 {
            match random.below(12) {
                0 if pair.acts.len() < 40 => begin(&mut pair, random),
                1..4 => pair.act(),
                4 if restarts > 0 && random.one_in(restarts / 8) => pair.restart(),
                5 if restarts > 0 && random.one_in(restarts / 8) => pair.client_closes(),
                6 if !pair.is_connected => pair.connect(),
                7..10 => pair.feed_client(1 + random.below(most) as usize),
                10 => pair.feed_daemon(1 + random.below(most) as usize),
                _ => {}
            }
        }
        pair.settle();
        if restarts == 0 {
            for (source, count) in &pair.handled {
                let path = format!("/qubes-firewall-handled/{source}");
                let value = String::from_utf8(pair.server.entries()[&path].clone()).unwrap();
                assert_eq!(value, count.to_string(), "seed {seed}");
            }
        }
    }
}

/// A daemon with what dom0 writes at the start, and the client that knows it.
fn settled() -> Pair {
    let mut pair = Pair::new(at_start());
    pair.settle();
    pair
}

fn write(pair: &mut Pair, path: &str, value: &str) {
    pair.server.write(path, value.as_bytes());
}

#[test]
fn rules_are_new_when_the_trigger_says_so() {
    let mut pair = settled();
    let source = Ipv4Addr::new(10, 137, 0, 5);
    write(&mut pair, "/qubes-firewall/10.137.0.5/policy", "drop");
    write(&mut pair, "/qubes-firewall/10.137.0.5/0000", "action=accept");
    assert_eq!(updates(&mut pair), []);
    write(&mut pair, "/qubes-firewall/10.137.0.5", "");
    pair.server.remove("/qubes-firewall/10.137.0.5/");
    write(&mut pair, "/qubes-firewall/10.137.0.5/policy", "accept");
    // All of this comes at once, and is looked at as it was at the trigger.
    let bytes: Vec<u8> = pair.server.output().drain(..).collect();
    let taken = pair.client.take(&bytes).unwrap();
    assert!(taken < bytes.len());
    assert_eq!(pair.client.take(&bytes[taken..]), Ok(0), "nothing is taken before the update is seen");
    assert_eq!(pair.client.next_update(), Some(Update::Rules(source)));
    let rules: Vec<_> = pair.client.database().rules_of(source).unwrap().collect();
    assert_eq!(rules, [("0000", "action=accept"), ("policy", "drop")]);
    assert_eq!(pair.client.take(&bytes[taken..]), Ok(bytes.len() - taken));
    assert_eq!(pair.client.next_update(), None);
}

fn updates(pair: &mut Pair) -> Vec<Update> {
    let bytes: Vec<u8> = pair.server.output().drain(..).collect();
    let mut updates = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let taken = pair.client.take(rest).unwrap();
        updates.extend(std::iter::from_fn(|| pair.client.next_update()));
        rest = &rest[taken..];
    }
    updates
}

#[test]
fn a_removal_below_a_path_spares_the_path_itself() {
    let mut pair = settled();
    for path in ["/vm-config/ravelin-log/a", "/vm-config/ravelin-log/b"] {
        write(&mut pair, path, "1");
    }
    pair.server.remove("/vm-config/ravelin-log/");
    pair.settle();
    assert_eq!(view(&pair.client).get("/vm-config/ravelin-log").map(String::as_str), Some("debug"));
    pair.server.remove("/vm-config/");
    pair.settle();
    assert_eq!(pair.client.database().options().count(), 0);
}

#[test]
fn what_is_not_for_us_is_answered_and_forgotten() {
    let mut pair = settled();
    let before = view(&pair.client);
    for path in ["/qubes-service/x", "/vm-config/x", "/qubes-firewall/10.137.0.5/a/b", "/qubes-ip6", "/name"]
    {
        write(&mut pair, path, "x");
    }
    assert_eq!(updates(&mut pair), []);
    assert_eq!(view(&pair.client), before);
    let mut answers = 0;
    while !pair.client.output().is_empty() {
        assert_eq!((pair.client.output().len(), pair.client.output()[0]), (72, 7));
        pair.feed_daemon(72);
        answers += 1;
    }
    assert_eq!(answers, 5);
}

#[test]
fn a_change_to_what_already_is_is_none() {
    let mut pair = settled();
    write(&mut pair, "/qubes-ip", "10.137.0.9");
    assert_eq!(updates(&mut pair), []);
    write(&mut pair, "/qubes-ip", "10.137.0.8");
    write(&mut pair, "/qubes-gateway", "10.137.0.3");
    assert_eq!(updates(&mut pair), [Update::Settings], "what comes together is one change");
}

#[test]
fn a_feature_without_a_value_counts_as_not_set() {
    let mut pair = settled();
    write(&mut pair, "/vm-config/ravelin-base-1", "");
    write(&mut pair, "/vm-config/ravelin-permit-1", "x");
    write(&mut pair, "/vm-config/ravelin-log", "");
    pair.settle();
    let lines = |kind| pair.client.database().config_lines(kind).collect::<Vec<_>>();
    assert_eq!(lines(ConfigKind::Base), []);
    assert_eq!(lines(ConfigKind::Permit), [("ravelin-permit-1", Ok("x"))]);
    assert_eq!(pair.client.database().options().count(), 0);
}

#[test]
fn a_daemon_that_comes_back_with_less_is_believed_and_until_then_nothing_changes() {
    let mut pair = settled();
    let mut random = Random::new(1);
    pair.acts.extend(reload("10.137.0.5", &mut random));
    pair.settle();
    let before = view(&pair.client);
    pair.restart();
    assert_eq!(view(&pair.client), before);
    pair.server.remove("/qubes-firewall/10.137.0.5/");
    pair.connect();
    for _ in 0..5 {
        pair.feed_daemon(72);
        pair.feed_client(100);
        assert_eq!(view(&pair.client), before, "only half of it is there");
    }
    pair.settle();
    assert_eq!(pair.client.database().rule_sources().count(), 0);
}

#[test]
fn counts_triggers_and_goes_on_counting_where_the_daemon_is() {
    let mut entries = at_start();
    entries.insert("/qubes-firewall-handled/10.137.0.5".into(), "41".into());
    let mut pair = Pair::new(entries);
    pair.settle();
    let mut random = Random::new(1);
    pair.acts.extend(reload("10.137.0.5", &mut random));
    pair.acts.extend(reload("fd09:24ef:4179::a89:5", &mut random));
    pair.settle();
    let entries = pair.server.entries();
    assert_eq!(entries["/qubes-firewall-handled/10.137.0.5"], b"42");
    assert_eq!(entries["/qubes-firewall-handled/fd09:24ef:4179::a89:5"], b"1");
}

#[test]
fn names_that_fit_are_written_and_nothing_is_ever_removed() {
    let mut pair = settled();
    let source = Ipv4Addr::new(10, 137, 0, 5);
    let addresses = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
    let longest = "x".repeat(63 - "/dns/10.137.0.5/".len());
    pair.client.name(source, "example.com", addresses.into_iter());
    pair.client.name(source, &longest, addresses.into_iter().take(1));
    pair.client.name(source, &format!("{longest}x"), addresses.into_iter());
    pair.client.name(source, "a b", addresses.into_iter());
    pair.settle();
    let entries = pair.server.entries();
    assert_eq!(entries["/dns/10.137.0.5/example.com"], b"{'192.0.2.1/32', '192.0.2.2/32'}");
    assert_eq!(entries[&format!("/dns/10.137.0.5/{longest}")], b"{'192.0.2.1/32'}");
    assert_eq!(entries.keys().filter(|path| path.starts_with("/dns/")).count(), 2);
    pair.client.name(source, "example.com", addresses.into_iter());
    assert_eq!(pair.client.output(), b"", "the daemon has it");
    pair.client.name(source, "example.com", [].into_iter());
    pair.settle();
    assert_eq!(pair.server.entries()["/dns/10.137.0.5/example.com"], b"set()");
}

#[test]
fn another_daemon_is_told_what_names_stand_for() {
    let mut pair = settled();
    let path = "/dns/10.137.0.5/example.com";
    pair.client.name(Ipv4Addr::new(10, 137, 0, 5), "example.com", [Ipv4Addr::new(192, 0, 2, 1)].into_iter());
    pair.settle();
    assert!(pair.server.entries().contains_key(path));
    pair.restart();
    assert!(!pair.server.entries().contains_key(path));
    pair.settle();
    assert_eq!(pair.server.entries()[path], b"{'192.0.2.1/32'}");
}

#[test]
fn a_connection_may_be_closed_when_the_daemon_has_read_the_request() {
    let mut pair = Pair::new(at_start());
    assert!(!pair.client.may_close());
    pair.connect();
    pair.feed_daemon(71);
    assert!(!pair.client.may_close());
    pair.feed_daemon(1);
    assert!(!pair.client.may_close(), "it is sent, but nobody knows whether it was read");
    pair.feed_client(1);
    assert!(pair.client.may_close());
    pair.client_closes();
    assert!(!pair.client.may_close());
    pair.settle();
}
