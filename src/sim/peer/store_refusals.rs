//! What xenstored is asked in vain: now and then it refuses a few requests in a row, for a reason that passes.

use crate::base::time::Moment;
use crate::sim::cast::KERNEL;
use crate::sim::machine::Machine;
use crate::sim::store::Errno;
use crate::store::wire::MessageKind;
use core::time::Duration;

/// Reasons that have nothing to do with the request.
const REASONS: [Errno; 5] = ["EAGAIN", "EBUSY", "ENOSPC", "EQUOTA", "EIO"];

/// Requests in a row that are refused, at most.
const MOST: u64 = 4;

/// Between two such rows, at least. The kernel tries again after a second, and libxl gives up after ten.
const REST: Duration = Duration::from_secs(4);

/// Watches that the kernel sets at boot. Before they are there nothing is refused: a kernel without them does not start.
const AT_BOOT: usize = 4;

/// When requests are refused, and why.
#[derive(Debug, Default)]
pub struct StoreRefusals {
    /// Of thousand requests so many begin a row.
    pub per_mille: u64,
    /// The present row: why, and how many are left.
    row: Option<(Errno, u64)>,
    rests_until: Moment,
}

impl StoreRefusals {
    /// Whether the request that has come is refused, and why.
    pub fn next(&mut self, kind: MessageKind, machine: &mut Machine) -> Option<Errno> {
        // To end a watch takes nothing that could be short.
        if self.per_mille == 0 || kind == MessageKind::Unwatch || machine.store.watches_of(KERNEL) < AT_BOOT {
            return None;
        }
        let (why, left) = match self.row {
            Some(row) => row,
            None if machine.now < self.rests_until || !machine.prng.chance(self.per_mille) => return None,
            None => (*machine.prng.pick(&REASONS), machine.prng.between(1, MOST)),
        };
        self.row = (left > 1).then_some((why, left - 1));
        if self.row.is_none() {
            self.rests_until = machine.now + REST;
        }
        machine.ledger.store_refusals += 1;
        Some(why)
    }
}
