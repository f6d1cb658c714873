//! No request of the toolstack's is lost, whatever XenStore does not do.

use super::*;
use crate::store::fake::{FakeRing, FakeXenstored};
use crate::vif::lifecycle::RETRY_AFTER;

const START: Moment = Moment::from_nanoseconds(1_000_000_000);

/// What the toolstack asks at `now`, when XenStore has answered everything.
fn next(
    requests: &mut Requests,
    (daemon, store): (&FakeXenstored, &Store<FakeRing>),
    now: Moment,
) -> Result<Option<Request>, StoreError> {
    loop {
        let next = requests.next(store, now);
        if next != Ok(None) || store.unanswered() == 0 {
            return next;
        }
        daemon.run();
        store.poll().unwrap();
    }
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
        assert_eq!(request, Ok(Some(Request::End(Shutdown::PowerOff))), "{asked}");
        assert_eq!((requests.deadline(), daemon.get("control/shutdown").as_deref()), (None, Some("")));
    }
}

#[test]
fn what_can_never_be_read_is_not_tried_for_ever() {
    let daemon = FakeXenstored::default();
    let (store, mut requests) = (Store::new(daemon.ring()), Requests::default());
    daemon.set("control/shutdown", "poweroff");
    daemon.refuse("TransactionStart", "ENOSYS", 1);
    requests.look_again();
    assert_eq!(next(&mut requests, (&daemon, &store), START), Err(StoreError::Unsupported));
    assert_eq!(requests.deadline(), None);
}
