//! How the uplink's backend and the way beyond it behave.

use crate::base::time::Moment;
use core::time::Duration;

/// What the way beyond the backend carries, in either direction.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// In the long run.
    pub bytes_per_second: u64,
    /// Bytes that may wait for it at the backend: more wait in the ring.
    pub outward_bytes: u64,
    /// Bytes that may wait for it at its far end: more are lost.
    pub inward_bytes: u64,
}

impl Line {
    pub(super) fn time_for(self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 1_000_000_000 / self.bytes_per_second)
    }

    /// When the backend takes another packet, if the line is done with what it was given at `free`.
    pub(super) fn takes_from(self, free: Moment) -> Moment {
        free - self.time_for(self.outward_bytes)
    }

    /// Whether its far end has room for another packet, likewise.
    pub(super) fn has_room(self, free: Moment, now: Moment) -> bool {
        free <= now + self.time_for(self.inward_bytes)
    }
}

/// How the backend and the way beyond it behave.
#[derive(Clone, Copy, Debug)]
pub struct Conduct {
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
    pub bundle_bytes: usize,
    /// Takes packets that are to be segmented.
    pub takes_bundles: bool,
    /// Offers an event channel for each ring.
    pub split_channels: bool,
    /// The way beyond it is limited: it takes packets no faster than that carries them, and loses what comes faster.
    pub line: Option<Line>,
    /// Of thousand steps so many do nothing: a slow backend.
    pub lazy_per_mille: u64,
    /// Of thousand steps so many break the protocol.
    pub mischief_per_mille: u64,
    /// From this moment on it is honest again.
    pub mischief_until: Moment,
}

impl Conduct {
    /// Nothing is lost, joined or blank, and nothing takes long.
    pub const CALM: Self = Self {
        loss_per_mille: 0,
        latency: Duration::from_micros(500),
        blank_per_mille: 0,
        most_slots: 1,
        refuses_blank: false,
        bundle_bytes: 0,
        takes_bundles: true,
        split_channels: true,
        line: None,
        lazy_per_mille: 0,
        mischief_per_mille: 0,
        mischief_until: Moment::from_nanoseconds(0),
    };

    /// Most slots of data of one packet for the kernel.
    pub(super) fn slots(&self) -> usize {
        self.most_slots.clamp(1, 18) as usize
    }

    /// Buffers that it waits for before it gives the kernel a packet: one more, for an extra-info slot.
    pub(super) fn buffers(&self) -> u32 {
        self.slots() as u32 + 1
    }
}
