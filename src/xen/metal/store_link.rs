//! The XenStore ring together with its event channel.

use super::{notify_and_sleep, sleep};
use crate::base::time::Moment;
use crate::store::{RingStatus, StoreRing, Timeout};
use crate::xen::event::{self, Port};
use crate::xen::store_ring::StoreBytes;
use core::time::Duration;

/// How long xenstored may take to answer at boot, the only time that it is waited for, before the kernel gives up on
/// it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The way to xenstored.
pub struct StoreLink {
    ring: StoreBytes,
    port: Port,
}

impl StoreLink {
    /// The ring that xenstored serves, and the event channel between us.
    pub(super) fn new(ring: StoreBytes, port: Port) -> Self {
        Self { ring, port }
    }

    /// The event channel, to poll on.
    pub fn port(&self) -> Port {
        self.port
    }
}

impl StoreRing for StoreLink {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let moved = self.ring.write(bytes);
        if moved > 0 {
            notify_and_sleep(&[self.port], None);
        }
        moved
    }

    fn read(&mut self, bytes: &mut [u8]) -> usize {
        let moved = self.ring.read(bytes);
        if moved > 0 {
            notify_and_sleep(&[self.port], None);
        }
        moved
    }

    fn wait(&mut self) -> Result<(), Timeout> {
        let deadline: Moment = super::clock_now() + PATIENCE;
        notify_and_sleep(&[], Some(sleep(&[self.port], Some(deadline))));
        let woken = super::shared_info().is_some_and(|page| event::take_pending(page, self.port));
        if woken || super::clock_now() < deadline {
            return Ok(());
        }
        log::error!("xenstored does not answer: {}", self.status());
        Err(Timeout)
    }

    fn status(&self) -> RingStatus {
        self.ring.status()
    }
}
