//! The client against a xenstored in memory.

use super::*;
use crate::store::fake::{FakeRing, FakeXenstored};
use alloc::format;
use alloc::string::String;

fn connected() -> (FakeXenstored, Store<FakeRing>) {
    let xenstored = FakeXenstored::default();
    let store = Store::new(xenstored.ring());
    (xenstored, store)
}

fn events(store: &mut Store<FakeRing>) -> Vec<String> {
    core::iter::from_fn(|| store.next_event())
        .map(|event| format!("{} {}", event.token, event.path))
        .collect()
}

#[test]
fn values_are_read_written_and_removed() {
    let (xenstored, mut store) = connected();
    assert_eq!(store.write("data/a", 17), Ok(()));
    assert_eq!(xenstored.get("/local/domain/1/data/a").as_deref(), Some("17"));
    assert_eq!(store.read("data/a").as_deref(), Ok("17"));
    assert_eq!(store.read_number::<u8>("data/a"), Ok(17));
    assert_eq!(store.remove("data/a"), Ok(()));
    assert_eq!(store.read("data/a"), Err(StoreError::NoEntry));
}

#[test]
fn a_value_that_is_no_number_is_told() {
    let (xenstored, mut store) = connected();
    for text in ["", "-1", "256", "4 "] {
        xenstored.set("state", text);
        assert!(matches!(store.read_number::<u8>("state"), Err(StoreError::NotANumber(_))), "{text}");
    }
}

#[test]
fn directories_list_their_children() {
    let (xenstored, mut store) = connected();
    xenstored.set("backend/vif/5/0/state", "1");
    xenstored.set("backend/vif/7/0/state", "1");
    let (five, seven) = (String::from("5"), String::from("7"));
    assert_eq!(store.directory("backend/vif"), Ok([five, seven].into()));
    assert_eq!(store.mkdir("empty"), Ok(()));
    assert_eq!(store.directory("empty"), Ok(Vec::new()));
    assert_eq!(store.directory("nothing"), Err(StoreError::NoEntry));
}

#[test]
fn a_directory_above_one_payload_is_read_in_parts() {
    let (xenstored, mut store) = connected();
    for number in 0..900 {
        xenstored.set(&format!("many/child-number-{number}"), "");
    }
    let names = store.directory("many").unwrap();
    assert_eq!(names.len(), 900);
    assert!(names.contains(&String::from("child-number-899")));
}

#[test]
fn requests_and_replies_longer_than_the_ring_pass() {
    let (_xenstored, mut store) = connected();
    let value = "v".repeat(900);
    assert_eq!(store.write("long", &value), Ok(()));
    assert_eq!(store.read("long"), Ok(value));
    assert_eq!(store.write("long", "v".repeat(2049)), Err(StoreError::TooLong));
}

#[test]
fn paths_that_xenstored_would_refuse_are_not_sent() {
    let (xenstored, mut store) = connected();
    assert!(matches!(store.read("a//b"), Err(StoreError::Path(_))));
    assert!(matches!(store.watch("a b", "t"), Err(StoreError::Path(_))));
    assert_eq!(xenstored.asked(), Vec::<String>::new());
}

#[test]
fn watch_events_come_between_replies_and_are_kept() {
    let (xenstored, mut store) = connected();
    assert_eq!(store.watch("device/vif", "frontends"), Ok(()));
    store.poll().unwrap();
    assert_eq!(events(&mut store), ["frontends device/vif"]);
    xenstored.set("device/vif/0/state", "1");
    assert_eq!(store.read("device/vif/0/state").as_deref(), Ok("1"));
    assert_eq!(events(&mut store), ["frontends device/vif/0/state"]);
}

#[test]
fn polling_takes_events_without_asking_anything() {
    let (xenstored, mut store) = connected();
    store.watch("backend", "b").unwrap();
    store.poll().unwrap();
    events(&mut store);
    xenstored.set("backend/vif/3/0/state", "1");
    assert_eq!(store.poll(), Ok(Polled::Drained));
    assert_eq!(events(&mut store), Vec::<String>::new());
    xenstored.run();
    assert_eq!(store.poll(), Ok(Polled::Drained));
    assert_eq!(events(&mut store), ["b backend/vif/3/0/state"]);
}

#[test]
fn an_ended_watch_is_silent() {
    let (xenstored, mut store) = connected();
    store.watch("backend", "b").unwrap();
    xenstored.set("backend/a", "1");
    assert_eq!(store.unwatch("backend", "b"), Ok(()));
    assert_eq!(store.poll(), Ok(Polled::Drained));
    assert_eq!(events(&mut store), Vec::<String>::new());
    assert_eq!(store.unwatch("backend", "b"), Err(StoreError::NoEntry));
}

#[test]
fn a_token_is_used_once() {
    let (_xenstored, mut store) = connected();
    assert_eq!(store.watch("a", "t"), Ok(()));
    assert_eq!(store.watch("b", "t"), Err(StoreError::Exists));
}

#[test]
fn a_transaction_is_repeated_until_it_meets_no_change() {
    let (xenstored, mut store) = connected();
    xenstored.set("counter", "1");
    let mut attempts = 0;
    let outcome = store.transaction(|nodes| {
        attempts += 1;
        if attempts < 3 {
            xenstored.set("counter", &format!("{attempts}0"));
        }
        let old: u32 = nodes.read_number("counter")?;
        nodes.write("counter", old + 1)?;
        Ok(old)
    });
    assert_eq!(outcome, Ok(20));
    assert_eq!(attempts, 3);
    assert_eq!(xenstored.get("counter").as_deref(), Some("21"));
}

#[test]
fn a_transaction_that_never_gets_through_is_an_error() {
    let (xenstored, mut store) = connected();
    xenstored.conflict(usize::MAX);
    let mut attempts = 0;
    let outcome = store.transaction(|nodes| {
        attempts += 1;
        nodes.write("a", 1)
    });
    assert_eq!((outcome, attempts), (Err(StoreError::Conflict), TRANSACTION_ATTEMPTS));
    assert_eq!(xenstored.get("a"), None);
}

#[test]
fn a_failed_transaction_recreates_nothing() {
    let (xenstored, mut store) = connected();
    xenstored.set("backend/vif/3/0/state", "4");
    xenstored.delete("backend/vif/3");
    let outcome = store.transaction(|nodes| {
        nodes.write("backend/vif/3/0/hotplug-status", "connected")?;
        nodes.read("backend/vif/3/0/state")
    });
    assert_eq!(outcome, Err(StoreError::NoEntry));
    assert_eq!(xenstored.get("backend/vif/3/0/hotplug-status"), None);
    assert_eq!(xenstored.asked().last().map(String::as_str), Some("TransactionEnd F"));
}

#[test]
fn tickets_are_answered_in_any_order_and_once() {
    let (xenstored, mut store) = connected();
    xenstored.set("one", "1");
    xenstored.set("two", "2");
    let one = store.submit_read("one").unwrap();
    let two = store.submit_read("two").unwrap();
    let missing = store.submit_read("three").unwrap();
    store.poll().unwrap();
    assert_eq!(store.take(one), None);
    xenstored.run();
    store.poll().unwrap();
    assert_eq!(store.take(two), Some(Ok(b"2".to_vec())));
    assert_eq!(store.take(one), Some(Ok(b"1".to_vec())));
    assert_eq!(store.take(one), None);
    assert_eq!(store.take(missing), Some(Err(StoreError::NoEntry)));
}

#[test]
fn tickets_are_bounded_and_leave_room_for_calls_that_wait() {
    let (_xenstored, mut store) = connected();
    let tickets: Vec<_> = (0..MAX_TICKETS).map(|_| store.submit_write("a", "x").unwrap()).collect();
    assert_eq!(store.submit_read("a"), Err(StoreError::TooManyRequests));
    assert_eq!(store.read("a").as_deref(), Ok("x"));
    store.forget(tickets[0]);
    assert!(store.submit_read("a").is_ok());
}

#[test]
fn silence_is_a_timeout_and_a_late_reply_is_dropped() {
    let (xenstored, mut store) = connected();
    xenstored.fall_silent();
    assert_eq!(store.read("a"), Err(StoreError::Timeout));
    let mut late = Vec::new();
    encode(&mut late, Kind::Error, RequestId(1), TransactionId::NONE, &[b"ENOENT\0"]).unwrap();
    xenstored.inject(&late);
    xenstored.run();
    assert_eq!(store.poll(), Ok(Polled::Drained));
}

#[test]
fn nonsense_ends_the_connection_for_good() {
    for nonsense in [
        // Type 99.
        &[99, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        // A reply of another type than was asked.
        &[4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // A payload of 65,536 bytes.
        &[2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        // A watch event without a token.
        &[15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'a', 0],
    ] {
        let (xenstored, mut store) = connected();
        xenstored.inject(nonsense);
        assert!(matches!(store.read("a"), Err(StoreError::Violation(_))), "{nonsense:?}");
        assert!(matches!(store.write("a", 1), Err(StoreError::Violation(_))));
        assert!(matches!(store.poll(), Err(StoreError::Violation(_))));
    }
}

#[test]
fn a_flood_of_events_does_not_keep_a_reply_away() {
    let (xenstored, mut store) = connected();
    store.watch("device", "d").unwrap();
    xenstored.set("answer", "42");
    for number in 0..5_000 {
        xenstored.set(&format!("device/{number}"), "");
    }
    assert_eq!(store.read("answer").as_deref(), Ok("42"));
    assert_eq!(events(&mut store), ["d device"]);
}
