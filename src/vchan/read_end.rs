//! Our end of the ring that the server writes and we read.

use super::interface::{Interface, RIGHT, VchanBroken};
use crate::xen::page::SharedPage;

/// Where we are in it: the copy that counts, since the server can write the one in the shared page.
#[derive(Debug)]
pub(super) struct ReadEnd {
    consumed: u32,
    bytes: u32,
    /// Where the ring begins in its page.
    start: usize,
}

impl ReadEnd {
    /// The end of a ring of `bytes`, a power of two, that begins at `start` of its page, as far as it was used before.
    pub(super) fn take_up(interface: Interface<'_>, bytes: u32, start: usize) -> Result<Self, VchanBroken> {
        let end = Self { consumed: interface.0.load(RIGHT.consumer), bytes, start };
        end.waiting(interface).map(|_| end)
    }

    /// Bytes that can be read.
    pub(super) fn waiting(&self, interface: Interface<'_>) -> Result<u32, VchanBroken> {
        // Acquire: the bytes are visible once the index is.
        let waiting = interface.0.load_acquire(RIGHT.producer).wrapping_sub(self.consumed);
        if waiting <= self.bytes { Ok(waiting) } else { Err(VchanBroken) }
    }

    /// Reads as many bytes as there are and fit into `bytes`, each once; their number.
    pub(super) fn read(
        &mut self,
        interface: Interface<'_>,
        ring: &SharedPage,
        bytes: &mut [u8],
    ) -> Result<usize, VchanBroken> {
        let moved = bytes.len().min(self.waiting(interface)? as usize);
        for byte in bytes.iter_mut().take(moved) {
            *byte = ring.load_byte(self.start + (self.consumed & (self.bytes - 1)) as usize);
            self.consumed = self.consumed.wrapping_add(1);
        }
        // Release: the bytes were read before the server may overwrite them.
        interface.0.store_release(RIGHT.consumer, self.consumed);
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xen::page::on_heap;

    #[test]
    fn bytes_cross_the_end_of_the_ring_and_come_in_as_many_pieces_as_there_is_room_for() {
        let (page, ring) = (on_heap::shared_page(), on_heap::shared_page());
        let interface = Interface(&page);
        page.store(RIGHT.producer, u32::MAX);
        page.store(RIGHT.consumer, u32::MAX);
        let mut end = ReadEnd::take_up(interface, 4096, 0).unwrap();
        let mut bytes = [0; 3];
        assert_eq!(end.read(interface, &ring, &mut bytes), Ok(0));
        for (at, byte) in [(4095, b'a'), (0, b'b'), (1, b'c'), (2, b'd')] {
            ring.store_byte(at, byte);
        }
        page.store(RIGHT.producer, 3);
        assert_eq!((end.read(interface, &ring, &mut bytes), &bytes), (Ok(3), b"abc"));
        assert_eq!(page.load(RIGHT.consumer), 2);
        assert_eq!((end.read(interface, &ring, &mut bytes), bytes.first()), (Ok(1), Some(&b'd')));
    }

    #[test]
    fn a_server_that_has_written_more_than_the_ring_holds_breaks_the_channel() {
        let (page, ring) = (on_heap::shared_page(), on_heap::shared_page());
        let interface = Interface(&page);
        let mut end = ReadEnd::take_up(interface, 1024, 1024).unwrap();
        page.store(RIGHT.producer, 1024);
        assert_eq!(end.waiting(interface), Ok(1024));
        for produced in [1025, u32::MAX, 1 << 31] {
            page.store(RIGHT.producer, produced);
            assert_eq!(end.read(interface, &ring, &mut [0; 8]), Err(VchanBroken), "{produced}");
        }
        assert_eq!(page.load(RIGHT.consumer), 0);
        // Our own index in the page is the server's to write, and is not looked at.
        page.store(RIGHT.consumer, 500);
        page.store(RIGHT.producer, 3);
        assert_eq!(end.read(interface, &ring, &mut [0; 8]), Ok(3));
        assert!(ReadEnd::take_up(Interface(&page), 1024, 1024).is_ok());
        page.store(RIGHT.producer, 2000);
        assert!(ReadEnd::take_up(Interface(&page), 1024, 1024).is_err());
    }
}
