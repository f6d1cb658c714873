//! An oracle: what the kernel allocates after boot stays within a bound, whatever its peers do.
//!
//! Speaks only in programs whose global allocator is [`Meter`](crate::xen::meter::Meter).

use crate::xen::meter;
use alloc::format;
use alloc::string::String;

/// Bytes that the kernel may have allocated beyond those after boot. Per device: two queues of frames, the
/// pages' places, paths and tokens; and replies and events of XenStore.
const LIMIT_BYTES: i64 = 256 << 10;

/// Watches the kernel's allocations.
#[derive(Debug)]
pub struct MemoryOracle {
    after_boot: i64,
    limit: i64,
}

impl MemoryOracle {
    /// Begins to watch a kernel that has just booted, and may have `more` bytes than others.
    pub fn begin(more: i64) -> Self {
        Self { after_boot: meter::reading().live_bytes, limit: LIMIT_BYTES + more }
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
