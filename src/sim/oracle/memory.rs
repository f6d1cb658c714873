//! An oracle: what the kernel allocates after boot stays within a bound, whatever its peers do.
//!
//! Speaks only in programs whose global allocator is [`Meter`](crate::xen::meter::Meter).

use crate::xen::meter;
use alloc::format;
use alloc::string::String;

/// Bytes that the kernel may have allocated beyond those after boot: replies and events of XenStore, the uplink's queue of
/// frames and its pages' places.
const LIMIT_BYTES: i64 = 96 << 10;

/// The same for each client: its queue of frames, paths and tokens.
const CLIENT_BYTES: i64 = 32 << 10;

/// Watches the kernel's allocations.
#[derive(Debug)]
pub struct MemoryOracle {
    after_boot: i64,
    limit: i64,
}

impl MemoryOracle {
    /// Begins to watch a kernel that has just booted, will have so many `clients` at a time, and may have `more` bytes than
    /// others.
    pub fn begin(clients: usize, more: i64) -> Self {
        let limit = LIMIT_BYTES + clients as i64 * CLIENT_BYTES + more;
        Self { after_boot: meter::reading().live_bytes, limit }
    }

    /// Most bytes beyond those after boot.
    pub fn peak_bytes(&self) -> i64 {
        meter::reading().peak_bytes - self.after_boot
    }

    /// Objects when there are too many.
    pub fn check(&self) -> Result<(), String> {
        let more = self.peak_bytes();
        if more > self.limit {
            return Err(format!("the kernel has allocated {more} bytes since it booted"));
        }
        Ok(())
    }
}
