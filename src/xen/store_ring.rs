//! The XenStore ring: bytes to and from xenstored.
//!
//! Indices run freely and need not start at zero. After bytes were produced or consumed the peer is to be
//! notified ([`Moved`]).

use super::abi::store::{ERROR, REQ, REQ_CONS, REQ_PROD, RING_BYTES, RSP, RSP_CONS, RSP_PROD};
use super::page::SharedPage;
use crate::store::RingStatus;

/// How many bytes moved; notify xenstored when it is not zero.
pub type Moved = usize;

/// Our ends of the two byte rings.
#[derive(Debug)]
pub struct StoreBytes {
    ring: SharedPage,
}

impl StoreBytes {
    /// Uses the XenStore page that the toolstack set up.
    pub fn new(ring: SharedPage) -> Self {
        Self { ring }
    }

    /// Puts as many of `bytes` as fit into the request ring.
    pub fn write(&mut self, bytes: &[u8]) -> Moved {
        let mut producer = self.ring.load(REQ_PROD);
        // Acquire: what we overwrite was read by xenstored before it moved its index.
        let used = producer.wrapping_sub(self.ring.load_acquire(REQ_CONS));
        let room = RING_BYTES.saturating_sub(used) as usize;
        let moved = room.min(bytes.len());
        for &byte in bytes.iter().take(moved) {
            self.ring.store_byte(REQ + (producer % RING_BYTES) as usize, byte);
            producer = producer.wrapping_add(1);
        }
        self.ring.store_release(REQ_PROD, producer);
        moved
    }

    /// What a reply that does not come may be waiting for.
    pub fn status(&self) -> RingStatus {
        let distance = |producer, consumer| self.ring.load(producer).wrapping_sub(self.ring.load(consumer));
        RingStatus {
            asked: distance(REQ_PROD, REQ_CONS),
            answered: distance(RSP_PROD, RSP_CONS),
            error: self.ring.load(ERROR),
        }
    }

    /// Takes as many bytes as there are and fit from the response ring.
    pub fn read(&mut self, bytes: &mut [u8]) -> Moved {
        let mut consumer = self.ring.load(RSP_CONS);
        // Acquire: the bytes are visible before the index that announces them.
        let filled = self.ring.load_acquire(RSP_PROD).wrapping_sub(consumer);
        // More than the ring holds is nonsense: read nothing rather than old bytes.
        let ready = if filled > RING_BYTES { 0 } else { filled as usize };
        let moved = ready.min(bytes.len());
        for byte in bytes.iter_mut().take(moved) {
            *byte = self.ring.load_byte(RSP + (consumer % RING_BYTES) as usize);
            consumer = consumer.wrapping_add(1);
        }
        self.ring.store_release(RSP_CONS, consumer);
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::on_heap;
    use super::*;

    #[test]
    fn bytes_cross_the_wrap_and_stop_at_a_full_ring() {
        let page = on_heap::shared_page();
        let peer = on_heap::alias(&page);
        let start = u32::MAX - 1;
        peer.store(REQ_PROD, start);
        peer.store(REQ_CONS, start);
        let mut ring = StoreBytes::new(page);
        assert_eq!(ring.write(&[7; 1000]), 1000);
        assert_eq!(ring.write(&[8; 100]), 24);
        assert_eq!(ring.write(&[9; 1]), 0);
        assert_eq!(peer.load(REQ_PROD), start.wrapping_add(1024));
    }

    #[test]
    fn reads_what_is_there_and_nothing_from_a_nonsense_index() {
        let page = on_heap::shared_page();
        let peer = on_heap::alias(&page);
        let mut ring = StoreBytes::new(page);
        peer.store_byte(RSP, 5);
        peer.store_byte(RSP + 1, 6);
        peer.store(RSP_PROD, 2);
        let mut bytes = [0; 8];
        assert_eq!(ring.read(&mut bytes), 2);
        assert_eq!(&bytes[..2], &[5, 6]);
        peer.store(RSP_PROD, 5000);
        assert_eq!(ring.read(&mut bytes), 0);
    }
}
