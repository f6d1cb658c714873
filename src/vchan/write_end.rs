//! Our end of the ring that we write and the server reads.

use super::interface::{Interface, LEFT, VchanBroken};
use crate::xen::page::SharedPage;

/// Where we are in it: the copy that counts, since the server can write the one in the shared page.
#[derive(Debug)]
pub(super) struct WriteEnd {
    produced: u32,
    bytes: u32,
    /// Where the ring begins in its page.
    start: usize,
}

impl WriteEnd {
    /// The end of a ring of `bytes`, a power of two, that begins at `start` of its page, as far as it was used before.
    pub(super) fn take_up(interface: Interface<'_>, bytes: u32, start: usize) -> Result<Self, VchanBroken> {
        let end = Self { produced: interface.0.load(LEFT.producer), bytes, start };
        end.room(interface).map(|_| end)
    }

    /// Bytes of the ring.
    pub(super) fn capacity(&self) -> u32 {
        self.bytes
    }

    /// Bytes that can be written.
    pub(super) fn room(&self, interface: Interface<'_>) -> Result<u32, VchanBroken> {
        // Acquire: what is overwritten was read before the server moved its index.
        let used = self.produced.wrapping_sub(interface.0.load_acquire(LEFT.consumer));
        self.bytes.checked_sub(used).ok_or(VchanBroken)
    }

    /// Writes as many of `bytes` as there is room for; their number.
    pub(super) fn write(
        &mut self,
        interface: Interface<'_>,
        ring: &SharedPage,
        bytes: &[u8],
    ) -> Result<usize, VchanBroken> {
        let moved = bytes.len().min(self.room(interface)? as usize);
        for &byte in bytes.iter().take(moved) {
            ring.store_byte(self.start + (self.produced & (self.bytes - 1)) as usize, byte);
            self.produced = self.produced.wrapping_add(1);
        }
        interface.0.store_release(LEFT.producer, self.produced);
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xen::page::on_heap;

    #[test]
    fn bytes_cross_the_end_of_the_ring_and_stop_where_it_is_full() {
        let (page, ring) = (on_heap::shared_page(), on_heap::shared_page());
        let interface = Interface(&page);
        // Indices run over, and need not start at zero.
        page.store(LEFT.producer, u32::MAX - 1);
        page.store(LEFT.consumer, u32::MAX - 1);
        let mut end = WriteEnd::take_up(interface, 1024, 2048).unwrap();
        assert_eq!(end.write(interface, &ring, b"abcd"), Ok(4));
        assert_eq!(page.load(LEFT.producer), 2);
        assert_eq!([3070, 3071, 2048, 2049].map(|at| ring.load_byte(at)), *b"abcd");
        assert_eq!(end.write(interface, &ring, &[7; 1024]), Ok(1020));
        assert_eq!(end.write(interface, &ring, b"e"), Ok(0));
        page.store(LEFT.consumer, 0);
        assert_eq!(end.write(interface, &ring, b"efg"), Ok(2));
    }

    #[test]
    fn a_server_that_has_read_what_was_not_written_or_not_yet_breaks_the_channel() {
        let (page, ring) = (on_heap::shared_page(), on_heap::shared_page());
        let interface = Interface(&page);
        let mut end = WriteEnd::take_up(interface, 4096, 0).unwrap();
        assert_eq!(end.write(interface, &ring, b"abc"), Ok(3));
        for consumed in [4, 5000, u32::MAX - 4096, 1 << 31] {
            page.store(LEFT.consumer, consumed);
            assert_eq!(end.write(interface, &ring, b"d"), Err(VchanBroken), "{consumed}");
        }
        assert_eq!(page.load(LEFT.producer), 3);
        page.store(LEFT.producer, 9999);
        assert!(WriteEnd::take_up(interface, 4096, 0).is_err());
    }
}
