//! Event channels: the pending bits in the shared info page (two-level ABI, 4096 ports).

use super::page::SharedPage;
use crate::base::bug::bug;
use arrayvec::ArrayVec;
use core::mem::offset_of;
use xen_sys::shared_info;

/// Our end of an event channel, laid out as Xen's `evtchn_port_t` and `evtchn_send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Port(pub u32);

/// A peer's end of an event channel, as it told us: a number to be checked by Xen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemotePort(pub u32);

/// Most notifications that wait to be sent together.
pub const NOTICES: usize = 32;

/// Ports whose other ends are to be notified, which one hypercall does for all of them.
#[derive(Debug, Default)]
pub struct Notifications(ArrayVec<Port, NOTICES>);

impl Notifications {
    /// Whether there is no room for another.
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Adds a port. [Send](super::Xen::send_notices) them when there is no room for another.
    pub fn add(&mut self, port: Port) {
        if self.0.try_push(port).is_err() {
            bug("a notification that nobody sends");
        }
    }

    /// All that wait, in order.
    pub fn ports(&self) -> &[Port] {
        &self.0
    }

    /// Forgets them: they were sent.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Clears the pending bit of `port`; whether it was set.
pub fn take_pending(shared_info: &SharedPage, port: Port) -> bool {
    let offset = offset_of!(shared_info, evtchn_pending) + (port.0 / 32 * 4) as usize;
    let bit = 1 << (port.0 % 32);
    // Most looks find nothing: read first, and leave the cache line alone.
    shared_info.load(offset) & bit != 0 && shared_info.clear_bits(offset, bit) & bit != 0
}

#[cfg(test)]
mod tests {
    use super::super::page::on_heap;
    use super::*;

    #[test]
    fn notices_wait_in_order_until_they_were_sent() {
        let mut notices = Notifications::default();
        for port in 0..NOTICES as u32 {
            assert!(!notices.is_full());
            notices.add(Port(port));
        }
        assert!(notices.is_full());
        assert!(notices.ports().iter().copied().eq((0..NOTICES as u32).map(Port)));
        notices.clear();
        assert!(notices.ports().is_empty());
    }

    #[test]
    fn pending_bit_is_seen_once_and_only_for_its_port() {
        let page = on_heap::shared_page();
        // Port 69: the second 64-bit word, bit 5.
        page.store(0x808, 1 << 5 | 1 << 6);
        assert!(!take_pending(&page, Port(5)));
        assert!(take_pending(&page, Port(69)));
        assert!(!take_pending(&page, Port(69)));
        assert_eq!(page.load(0x808), 1 << 6);
    }
}
