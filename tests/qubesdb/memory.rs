//! What databases hold when there is more than room for: who is there has its part, and what is missing is known to be.

use crate::hostile::{BUDGET, end, fresh, message, reconnect, take};
use crate::random::Random;
use ravelin::qubes::{ConfigKind, QubesDb, SourceFault};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

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
fn who_is_there_has_its_part_and_nobody_has_more_than_there_is_in_any_order_of_events() {
    for seed in 0..20 {
        let random = &mut Random::new(seed);
        let mut client = fresh();
        assert!(take(&mut client, &message(11, "", b"")));
        let mut there = 0..1;
        // What is known of those who are there.
        let mut known: BTreeMap<u32, usize> = BTreeMap::new();
        for _ in 0..400 {
            let number = random.below(600) as u32;
            let number = if random.one_in(2) { there.start + number % there.len() as u32 } else { number };
            match random.below(12) {
                0 => {
                    let first = random.below(500) as u32;
                    there = first..first + 1 + random.below(100) as u32;
                    connect(&mut client, there.clone());
                    known.retain(|number, _| there.contains(number));
                }
                1 => {
                    let path = format!("/qubes-firewall/{}/", source(number));
                    assert!(take(&mut client, &message(4, &path, b"")));
                    known.remove(&number);
                }
                2..4 => {
                    let many = give(&mut client, number, 100 + random.below(900) as usize, 90);
                    known.remove(&number);
                    known.extend(many.ok().filter(|_| there.contains(&number)).map(|many| (number, many)));
                }
                _ => {
                    let few = give(&mut client, number, 2, 40);
                    if there.contains(&number) {
                        assert_eq!(few, Ok(3), "seed {seed}");
                        known.insert(number, 3);
                    }
                }
            }
            assert!(client.database_bytes() <= BUDGET, "seed {seed}");
            for (number, rules) in &known {
                let found = client.database().rules_of(source(*number)).map(Iterator::count);
                assert_eq!(found, Ok(*rules), "seed {seed}");
            }
        }
        end(client, seed);
    }
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
fn in_a_dump_that_there_is_no_room_for_those_that_are_there_have_their_rules_and_nobody_half_a_list() {
    let mut client = fresh();
    assert!(take(&mut client, &message(11, "", b"")));
    connect(&mut client, 2000..2050);
    reconnect(&mut client);
    // The daemon sorts: the policy is the last of each.
    for number in 0..3000 {
        for (name, value) in [("0000", "action=accept"), ("0001", "action=drop"), ("policy", "drop")] {
            let path = format!("/qubes-firewall/{}/{name}", source(number));
            assert!(take(&mut client, &message(11, &path, value.as_bytes())));
        }
    }
    assert!(take(&mut client, &message(11, "", b"")));
    let database = client.database();
    assert!(database.has_too_many_sources());
    let known = |number| database.rules_of(source(number)).map(Iterator::count);
    (2000..2050).for_each(|number| assert_eq!(known(number), Ok(3), "{number}"));
    (0..3000).for_each(|number| assert!(matches!(known(number), Ok(3) | Err(_)), "{number}"));
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
