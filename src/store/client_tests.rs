//! The client against a xenstored in memory.

use super::super::Job;
use super::super::wire::{RequestId, encode};
use super::*;
use crate::store::fake::{FakeRing, FakeXenstored};
use alloc::format;
use alloc::string::String;

fn connected() -> (FakeXenstored, Store<FakeRing>) {
    let xenstored = FakeXenstored::default();
    let store = Store::new(xenstored.ring());
    (xenstored, store)
}

fn events(store: &Store<FakeRing>) -> Vec<String> {
    core::iter::from_fn(|| store.next_event())
        .map(|event| format!("{} {}", event.token, event.path))
        .collect()
}

#[test]
fn values_are_read_written_and_removed() {
    let (xenstored, store) = connected();
    assert_eq!(store.wait_for(store.write("data/a", 17)), Ok(()));
    assert_eq!(xenstored.get("/local/domain/1/data/a").as_deref(), Some("17"));
    assert_eq!(store.wait_for(store.read("data/a")).as_deref(), Ok("17"));
    assert_eq!(store.wait_for(store.read_number::<u8>("data/a")), Ok(17));
    assert_eq!(store.wait_for(store.remove("data/a")), Ok(()));
    assert_eq!(store.wait_for(store.read("data/a")), Err(StoreError::NoEntry));
}

#[test]
fn a_value_that_is_no_number_is_told() {
    let (xenstored, store) = connected();
    for text in ["", "-1", "256", "4 "] {
        xenstored.set("state", text);
        assert!(
            matches!(store.wait_for(store.read_number::<u8>("state")), Err(StoreError::NotANumber(_))),
            "{text}"
        );
    }
}

#[test]
fn directories_list_their_children() {
    let (xenstored, store) = connected();
    xenstored.set("backend/vif/5/0/state", "1");
    xenstored.set("backend/vif/7/0/state", "1");
    let (five, seven) = (String::from("5"), String::from("7"));
    assert_eq!(store.wait_for(store.directory("backend/vif")), Ok([five, seven].into()));
    assert_eq!(store.wait_for(store.mkdir("empty")), Ok(()));
    assert_eq!(store.wait_for(store.directory("empty")), Ok(Vec::new()));
    assert_eq!(store.wait_for(store.directory("nothing")), Err(StoreError::NoEntry));
}

#[test]
fn a_directory_above_one_payload_is_read_in_parts() {
    let (xenstored, store) = connected();
    for number in 0..900 {
        xenstored.set(&format!("many/child-number-{number}"), "");
    }
    let names = store.wait_for(store.directory("many")).unwrap();
    assert_eq!(names.len(), 900);
    assert!(names.contains(&String::from("child-number-899")));
}

#[test]
fn requests_and_replies_longer_than_the_ring_pass() {
    let (_xenstored, store) = connected();
    let value = "v".repeat(900);
    assert_eq!(store.wait_for(store.write("long", &value)), Ok(()));
    assert_eq!(store.wait_for(store.read("long")), Ok(value));
    assert_eq!(store.wait_for(store.write("long", "v".repeat(2049))), Err(StoreError::TooLong));
}

#[test]
fn paths_that_xenstored_would_refuse_are_not_sent() {
    let (xenstored, store) = connected();
    assert!(matches!(store.wait_for(store.read("a//b")), Err(StoreError::Path(_))));
    assert!(matches!(store.wait_for(store.watch("a b", "t")), Err(StoreError::Path(_))));
    assert_eq!(xenstored.asked(), Vec::<String>::new());
}

#[test]
fn watch_events_come_between_replies_and_are_kept() {
    let (xenstored, store) = connected();
    assert_eq!(store.wait_for(store.watch("device/vif", "frontends")), Ok(()));
    store.poll().unwrap();
    assert_eq!(events(&store), ["frontends device/vif"]);
    xenstored.set("device/vif/0/state", "1");
    assert_eq!(store.wait_for(store.read("device/vif/0/state")).as_deref(), Ok("1"));
    assert_eq!(events(&store), ["frontends device/vif/0/state"]);
}

#[test]
fn polling_takes_events_without_asking_anything() {
    let (xenstored, store) = connected();
    store.wait_for(store.watch("backend", "b")).unwrap();
    store.poll().unwrap();
    events(&store);
    xenstored.set("backend/vif/3/0/state", "1");
    assert_eq!(store.poll(), Ok(Polled::Drained));
    assert_eq!(events(&store), Vec::<String>::new());
    xenstored.run();
    assert_eq!(store.poll(), Ok(Polled::Drained));
    assert_eq!(events(&store), ["b backend/vif/3/0/state"]);
}

#[test]
fn an_ended_watch_is_silent() {
    let (xenstored, store) = connected();
    store.wait_for(store.watch("backend", "b")).unwrap();
    xenstored.set("backend/a", "1");
    assert_eq!(store.wait_for(store.unwatch("backend", "b")), Ok(()));
    assert_eq!(store.poll(), Ok(Polled::Drained));
    assert_eq!(events(&store), Vec::<String>::new());
    assert_eq!(store.wait_for(store.unwatch("backend", "b")), Err(StoreError::NoEntry));
}

#[test]
fn a_token_is_used_once() {
    let (_xenstored, store) = connected();
    assert_eq!(store.wait_for(store.watch("a", "t")), Ok(()));
    assert_eq!(store.wait_for(store.watch("b", "t")), Err(StoreError::Exists));
}

#[test]
fn a_transaction_is_repeated_until_it_meets_no_change() {
    let (xenstored, store) = connected();
    xenstored.set("counter", "1");
    let mut attempts = 0;
    let outcome = store.wait_for(store.transaction(async |nodes| {
        attempts += 1;
        if attempts < 3 {
            xenstored.set("counter", &format!("{attempts}0"));
        }
        let old: u32 = nodes.read_number("counter").await?;
        nodes.write("counter", old + 1).await?;
        Ok(old)
    }));
    assert_eq!(outcome, Ok(20));
    assert_eq!(attempts, 3);
    assert_eq!(xenstored.get("counter").as_deref(), Some("21"));
}

#[test]
fn a_transaction_that_never_gets_through_is_an_error() {
    let (xenstored, store) = connected();
    xenstored.conflict(usize::MAX);
    let mut attempts = 0;
    let outcome = store.wait_for(store.transaction(async |nodes| {
        attempts += 1;
        nodes.write("a", 1).await
    }));
    assert_eq!((outcome, attempts), (Err(StoreError::Conflict), TRANSACTION_ATTEMPTS));
    assert_eq!(xenstored.get("a"), None);
}

#[test]
fn a_failed_transaction_recreates_nothing() {
    let (xenstored, store) = connected();
    xenstored.set("backend/vif/3/0/state", "4");
    xenstored.delete("backend/vif/3");
    let outcome = store.wait_for(store.transaction(async |nodes| {
        nodes.write("backend/vif/3/0/hotplug-status", "connected").await?;
        nodes.read("backend/vif/3/0/state").await
    }));
    assert_eq!(outcome, Err(StoreError::NoEntry));
    assert_eq!(xenstored.get("backend/vif/3/0/hotplug-status"), None);
    assert_eq!(xenstored.asked().last().map(String::as_str), Some("TransactionEnd F"));
}

/// A conversation that reads a node.
fn reading(store: &Store<FakeRing>, path: &'static str) -> Job<Result<String, StoreError>> {
    let store = store.clone();
    Job::new(async move { store.read(path).await })
}

#[test]
fn a_conversation_never_waits_and_goes_on_when_its_reply_has_come() {
    let (xenstored, store) = connected();
    xenstored.set("one", "1");
    xenstored.set("two", "2");
    let (mut one, mut two, mut missing) =
        (reading(&store, "one"), reading(&store, "two"), reading(&store, "three"));
    for job in [&mut one, &mut two, &mut missing] {
        assert_eq!(job.poll(), Poll::Pending);
    }
    assert_eq!(store.poll(), Ok(Polled::Drained));
    assert!(!store.take_news());
    assert_eq!(two.poll(), Poll::Pending);
    xenstored.run();
    assert_eq!(store.poll(), Ok(Polled::Drained));
    assert!(store.take_news() && !store.take_news());
    assert_eq!(two.poll(), Poll::Ready(Ok("2".into())));
    assert_eq!(one.poll(), Poll::Ready(Ok("1".into())));
    assert_eq!(missing.poll(), Poll::Ready(Err(StoreError::NoEntry)));
    assert_eq!((store.unanswered(), store.replies()), (0, 3));
}

#[test]
fn several_nodes_are_read_or_written_in_one_round_trip() {
    let (xenstored, store) = connected();
    let conversation = store.clone();
    let mut job = Job::new(async move {
        conversation.write_all(&[("one".into(), "1".into()), ("two".into(), "2".into())]).await?;
        conversation.read_peers(["two", "none", "one"]).await
    });
    let mut trips = 0;
    let read = loop {
        match job.poll() {
            Poll::Ready(read) => break read,
            Poll::Pending => xenstored.run(),
        }
        store.poll().unwrap();
        trips += 1;
    };
    assert_eq!((read, trips), (Ok([Some("2".into()), None, Some("1".into())]), 2));
}

#[test]
fn no_more_requests_are_under_way_than_xenstored_allows() {
    let (xenstored, store) = connected();
    xenstored.set("a", "x");
    let mut jobs: Vec<_> = (0..50).map(|_| reading(&store, "a")).collect();
    let mut most = 0;
    while !jobs.is_empty() {
        jobs.retain_mut(|job| job.poll().is_pending());
        most = most.max(store.unanswered());
        xenstored.run();
        store.poll().unwrap();
    }
    assert_eq!(most, 16);
}

#[test]
fn no_more_transactions_are_open_than_xenstored_allows() {
    let (xenstored, store) = connected();
    let change = |number: usize| {
        let store = store.clone();
        Job::new(async move {
            store.transaction(async |nodes| nodes.write(&format!("node-{number}"), number).await).await
        })
    };
    let mut jobs: Vec<_> = (0..20).map(change).collect();
    let mut most = 0;
    while !jobs.is_empty() {
        jobs.retain_mut(|job| match job.poll() {
            Poll::Ready(done) => {
                assert_eq!(done, Ok(()));
                false
            }
            Poll::Pending => true,
        });
        xenstored.run();
        most = most.max(xenstored.open_transactions());
        store.poll().unwrap();
    }
    assert!((1..=4).contains(&most), "{most} at once");
}

#[test]
fn a_conversation_that_is_dropped_leaves_no_transaction_behind() {
    let (xenstored, store) = connected();
    xenstored.set("a", "1");
    let conversation = store.clone();
    let mut job =
        Job::new(async move { conversation.transaction(async |nodes| nodes.read("a").await).await });
    assert!(job.poll().is_pending());
    xenstored.run();
    store.poll().unwrap();
    assert!(job.poll().is_pending());
    assert_eq!(xenstored.open_transactions(), 1);
    drop(job);
    xenstored.run();
    store.poll().unwrap();
    assert_eq!((xenstored.open_transactions(), store.unanswered()), (0, 0));
}

#[test]
fn silence_is_a_timeout_and_a_late_reply_is_dropped() {
    let (xenstored, store) = connected();
    xenstored.fall_silent();
    assert_eq!(store.wait_for(store.read("a")), Err(StoreError::Timeout));
    let mut late = Vec::new();
    encode(&mut late, MessageKind::Error, RequestId(1), TransactionId::NONE, &[b"ENOENT\0"]).unwrap();
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
        let (xenstored, store) = connected();
        xenstored.inject(nonsense);
        assert!(matches!(store.wait_for(store.read("a")), Err(StoreError::Violation(_))), "{nonsense:?}");
        assert!(matches!(store.wait_for(store.write("a", 1)), Err(StoreError::Violation(_))));
        assert!(matches!(store.poll(), Err(StoreError::Violation(_))));
    }
}

#[test]
fn a_flood_of_events_does_not_keep_a_reply_away() {
    let (xenstored, store) = connected();
    store.wait_for(store.watch("device", "d")).unwrap();
    xenstored.set("answer", "42");
    for number in 0..5_000 {
        xenstored.set(&format!("device/{number}"), "");
    }
    assert_eq!(store.wait_for(store.read("answer")).as_deref(), Ok("42"));
    assert_eq!(events(&store), ["d device"]);
}
