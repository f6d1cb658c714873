//! A cable: frames queue in both directions for smoltcp, and may be late or lost on the way.

use crate::base::time::Moment;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// A smoltcp device that is two queues.
#[derive(Debug)]
pub struct Queues {
    /// Frames for the host.
    pub arrived: VecDeque<Vec<u8>>,
    /// Frames that the host sent.
    pub leaving: VecDeque<Vec<u8>>,
    /// Frames that may wait to leave: more are not taken from the host.
    pub room: usize,
}

impl Default for Queues {
    fn default() -> Self {
        Self { arrived: VecDeque::new(), leaving: VecDeque::new(), room: 64 }
    }
}

impl Queues {
    /// Whether frames are taken from the host.
    pub fn has_room(&self) -> bool {
        self.leaving.len() < self.room
    }
}

/// A frame that is being received.
pub struct Arriving(Vec<u8>);

/// A frame that is being sent.
pub struct Sending<'q>(&'q mut VecDeque<Vec<u8>>);

impl phy::RxToken for Arriving {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, consume: F) -> R {
        consume(&self.0)
    }
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, consume: F) -> R {
        let mut frame = vec![0; bytes];
        let result = consume(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl phy::Device for Queues {
    type RxToken<'a> = Arriving;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arriving, Sending<'_>)> {
        let frame = self.arrived.pop_front()?;
        Some((Arriving(frame), Sending(&mut self.leaving)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        self.has_room().then_some(Sending(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// smoltcp's time.
pub fn instant(now: Moment) -> Instant {
    Instant::from_micros((now.as_nanoseconds() / 1000) as i64)
}

/// The moment at which smoltcp's time is reached.
pub fn moment(instant: Instant) -> Moment {
    Moment::from_nanoseconds((instant.total_micros().max(0) as u64).saturating_mul(1000))
}
