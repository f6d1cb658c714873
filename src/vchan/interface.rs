//! The page that both ends of a vchan share: indices, who is there, and who wants to be notified of what.
//!
//! "Left" is what the client writes and the server reads, "right" the other direction. Each end asks for a notification in
//! a byte that the other end reads: the client in `srv_notify`, the server in `cli_notify`.

use crate::xen::grant::Gref;
use crate::xen::page::SharedPage;
use core::sync::atomic::{Ordering, fence};

/// Where the client's write index and the server's read index for left are.
pub(super) const LEFT: Indices = Indices { consumer: 0, producer: 4 };
/// The same for right.
pub(super) const RIGHT: Indices = Indices { consumer: 8, producer: 12 };

const ORDERS: usize = 16;
const CLIENT_LIVE: usize = 20;
const SERVER_LIVE: usize = 21;
const CLIENT_NOTIFY: usize = 22;
const SERVER_NOTIFY: usize = 23;
const GRANTS: usize = 24;

/// Where the indices of one direction are. They run freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Indices {
    pub(super) consumer: usize,
    pub(super) producer: usize,
}

/// What an end can ask to be notified of, as a bit of its byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Act {
    /// The other end has written (`VCHAN_NOTIFY_WRITE`).
    Written = 1,
    /// The other end has read, so that there is room (`VCHAN_NOTIFY_READ`).
    Read = 2,
}

/// The server moved an index to where it cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VchanBroken;

/// The page, seen by the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface<'a>(pub(super) &'a SharedPage);

impl Interface<'_> {
    /// The binary logarithms of the rings' sizes, left and right.
    pub(super) fn orders(self) -> (u32, u32) {
        let both = self.0.load(ORDERS);
        (both & 0xffff, both >> 16)
    }

    /// Grant number `index` of those that hold what is not in this page: first left's, then right's.
    pub(super) fn grant(self, index: usize) -> Gref {
        Gref(self.0.load(GRANTS + index * 4))
    }

    /// Whether the server is there. It, or the system that it ran on, clears this when it goes.
    pub(super) fn is_served(self) -> bool {
        self.0.load_byte(SERVER_LIVE) != 0
    }

    /// Says that we are there.
    pub(super) fn arrive(self) {
        // Whoever sees that we are there sees what we wrote before.
        fence(Ordering::SeqCst);
        self.0.store_byte(CLIENT_LIVE, 1);
    }

    /// Says that we are gone.
    pub(super) fn leave(self) {
        self.0.store_byte(CLIENT_LIVE, 0);
    }

    /// Asks the server to notify us of these, once. The indices are to be looked at after this.
    pub(super) fn ask(self, acts: &[Act]) {
        let bits = acts.iter().fold(0, |bits, &act| bits | act as u8);
        self.0.set_byte_bits(SERVER_NOTIFY, bits);
        // Pairs with the server's barrier between its index and its look at this byte: it sees what we ask, or we see
        // what it did.
        fence(Ordering::SeqCst);
    }

    /// Whether the server asked to be notified of what we just did; it is not asked twice.
    pub(super) fn take_request(self, act: Act) -> bool {
        // Pairs with the server's barrier between what it asks and its last look at the indices.
        fence(Ordering::SeqCst);
        self.0.clear_byte_bits(CLIENT_NOTIFY, act as u8) & act as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xen::page::on_heap;

    #[test]
    fn fields_lie_where_libxenvchan_has_them() {
        let page = on_heap::shared_page();
        page.store(16, 12 | 11 << 16);
        page.store(28, 77);
        page.store_byte(21, 1);
        let interface = Interface(&page);
        assert_eq!(
            (interface.orders(), interface.grant(1), interface.is_served()),
            ((12, 11), Gref(77), true)
        );
        interface.arrive();
        interface.ask(&[Act::Written, Act::Read]);
        assert_eq!([20, 21, 22, 23].map(|at| page.load_byte(at)), [1, 1, 0, 3]);
        interface.leave();
        assert_eq!(page.load_byte(20), 0);
    }

    #[test]
    fn a_request_is_taken_once_and_leaves_the_others() {
        let page = on_heap::shared_page();
        page.store_byte(22, 3);
        let interface = Interface(&page);
        assert!(interface.take_request(Act::Written));
        assert!(!interface.take_request(Act::Written));
        assert_eq!(page.load_byte(22), 2);
        assert!(interface.take_request(Act::Read));
    }
}
