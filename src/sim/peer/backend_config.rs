//! How the uplink's backend and the way beyond it behave.

use crate::base::time::Moment;
use core::time::Duration;

/// What the way beyond the backend carries, in either direction.
#[derive(Clone, Copy, Debug)]
pub struct LinkLimit {
    /// In the long run.
    pub bytes_per_second: u64,
    /// Bytes that may wait for it at the backend: more wait in the ring.
    pub outward_bytes: u64,
    /// Bytes that may wait for it at its far end: more are lost.
    pub inward_bytes: u64,
}

impl LinkLimit {
    pub(in crate::sim) fn time_for(self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 1_000_000_000 / self.bytes_per_second)
    }

    /// When the backend takes another packet, if the link is done with what it was given at `free`.
    pub(in crate::sim) fn takes_from(self, free: Moment) -> Moment {
        free - self.time_for(self.outward_bytes)
    }

    /// Whether its far end has room for another packet, likewise.
    pub(in crate::sim) fn has_room(self, free: Moment, now: Moment) -> bool {
        free <= now + self.time_for(self.inward_bytes)
    }
}

/// How the backend and the way beyond it behave.
#[derive(Clone, Copy, Debug)]
pub struct BackendConfig {
    /// Of thousand packets so many are lost on the way, in either direction.
    pub loss_per_mille: u64,
    /// A packet is on its way for at most so long, in either direction.
    pub latency: Duration,
    /// Of thousand packets for the kernel so many have a blank checksum.
    pub blank_per_mille: u64,
    /// Most slots of one packet for the kernel.
    pub most_slots: u64,
    /// Says that it cannot complete checksums.
    pub refuses_blank: bool,
    /// Joins TCP packets in a row up to so many bytes, to be segmented on the way; 0 for never.
    pub gso_bytes: usize,
    /// Takes packets that are to be segmented.
    pub takes_gso: bool,
    /// Offers an event channel for each ring.
    pub split_channels: bool,
    /// The way beyond it is limited: it takes packets no faster than that carries them, and loses what comes faster.
    pub link: Option<LinkLimit>,
    /// Of thousand steps so many do nothing: a slow backend.
    pub lazy_per_mille: u64,
    /// Of thousand steps so many break the protocol.
    pub attacks_per_mille: u64,
    /// From this moment on it is honest again.
    pub attacks_until: Moment,
}

impl BackendConfig {
    /// Nothing is lost, joined or blank, and nothing takes long.
    pub const CALM: Self = Self {
        loss_per_mille: 0,
        latency: Duration::from_micros(500),
        blank_per_mille: 0,
        most_slots: 1,
        refuses_blank: false,
        gso_bytes: 0,
        takes_gso: true,
        split_channels: true,
        link: None,
        lazy_per_mille: 0,
        attacks_per_mille: 0,
        attacks_until: Moment::from_nanoseconds(0),
    };

    /// Most slots of data of one packet for the kernel.
    pub(in crate::sim) fn slots(&self) -> usize {
        self.most_slots.clamp(1, 18) as usize
    }

    /// Buffers that it waits for before it gives the kernel a packet: one more, for an extra-info slot.
    pub(in crate::sim) fn buffers(&self) -> u32 {
        self.slots() as u32 + 1
    }
}
