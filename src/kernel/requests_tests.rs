//! No request of the toolstack's is lost, whatever XenStore does not do.

use super::*;
use crate::store::fake::{FakeRing, FakeXenstored};
use crate::vif::lifecycle::RETRY_AFTER;
use alloc::format;

const START: Moment = Moment::from_nanoseconds(1_000_000_000);

/// What the toolstack asks at `now`, when XenStore has answered everything.
fn next(
    requests: &mut Requests,
    (daemon, store): (&FakeXenstored, &Store<FakeRing>),
    now: Moment,
) -> Result<Option<TakenRequest>, StoreError> {
    loop {
        let next = requests.next(store, now);
        if next != Ok(None) || store.unanswered() == 0 {
            return next;
        }
        daemon.run();
        store.poll().unwrap();
    }
}

/// A request whose node was emptied.
fn acknowledged(request: Request) -> Option<TakenRequest> {
    Some(TakenRequest { request, unacknowledged: None })
}

#[test]
fn a_request_that_cannot_be_read_is_read_a_second_later_until_it_was() {
    for asked in ["Read control/shutdown", "TransactionStart", "Write control/shutdown", "TransactionEnd"] {
        let daemon = FakeXenstored::default();
        let (store, mut requests) = (Store::new(daemon.ring()), Requests::default());
        daemon.set("control/shutdown", "poweroff");
        daemon.refuse(asked, "EBUSY", 2);
        requests.look_again();
        let told = next(&mut requests, (&daemon, &store), START);
        assert_eq!(told, Err(StoreError::Busy), "{asked}");
        assert!(!requests.is_due(START));
        // The same trouble is told once.
        let second = START + RETRY_AFTER;
        assert_eq!((requests.deadline(), requests.is_due(second)), (Some(second), true), "{asked}");
        assert_eq!(next(&mut requests, (&daemon, &store), second), Ok(None), "{asked}");
        let third = second + RETRY_AFTER;
        assert_eq!(requests.deadline(), Some(third), "{asked}");
        let request = next(&mut requests, (&daemon, &store), third);
        assert_eq!(request, Ok(acknowledged(Request::End(Shutdown::PowerOff))), "{asked}");
        assert_eq!((requests.deadline(), daemon.get("control/shutdown").as_deref()), (None, Some("")));
    }
}

#[test]
fn a_request_that_can_never_be_acknowledged_is_obeyed_once() {
    for (node, text, request) in [
        (SHUTDOWN, "poweroff", Request::End(Shutdown::PowerOff)),
        (SHUTDOWN, "reboot", Request::End(Shutdown::Reboot)),
        (SYSRQ, "m", Request::Balance),
    ] {
        for asked in ["TransactionStart", &format!("Write {node}"), "TransactionEnd"] {
            for (error, why) in [("EACCES", StoreError::AccessDenied), ("ENOSYS", StoreError::Unsupported)] {
                let daemon = FakeXenstored::default();
                let (store, mut requests) = (Store::new(daemon.ring()), Requests::default());
                daemon.set(node, text);
                daemon.refuse(asked, error, usize::MAX);
                requests.look_again();
                let obeyed = Some(TakenRequest { request: request.clone(), unacknowledged: Some(why) });
                let first = next(&mut requests, (&daemon, &store), START);
                assert_eq!(first, Ok(obeyed), "{asked}: {error}");
                assert_eq!((requests.deadline(), requests.is_due(START)), (None, false), "{asked}: {error}");
            }
        }
    }
}

#[test]
fn the_request_that_is_obeyed_is_the_one_that_was_there_last() {
    let daemon = FakeXenstored::default();
    let (store, mut requests) = (Store::new(daemon.ring()), Requests::default());
    daemon.set(SHUTDOWN, "suspend");
    daemon.refuse("Write control/shutdown", "EACCES", 1);
    requests.look_again();
    assert_eq!(requests.next(&store, START), Ok(None));
    store.poll().unwrap();
    daemon.run();
    assert_eq!(daemon.asked(), ["Read control/shutdown"]);
    daemon.set(SHUTDOWN, "poweroff");
    store.poll().unwrap();
    let taken = next(&mut requests, (&daemon, &store), START).unwrap().unwrap();
    assert_eq!(taken.request, Request::End(Shutdown::PowerOff));
}

#[test]
fn what_can_never_be_read_is_not_tried_for_ever() {
    let daemon = FakeXenstored::default();
    let (store, mut requests) = (Store::new(daemon.ring()), Requests::default());
    daemon.set("control/shutdown", "poweroff");
    daemon.refuse("Read control/shutdown", "ENOSYS", usize::MAX);
    requests.look_again();
    assert_eq!(next(&mut requests, (&daemon, &store), START), Ok(None));
    assert_eq!(requests.deadline(), None);
}
