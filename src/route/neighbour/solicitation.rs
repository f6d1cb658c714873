//! Questions for a hop: ARP requests, how many and how often (RFC 1122 section 2.3.2.1).

use core::time::Duration;

/// Between two questions for one hop.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);

/// Questions before packets for a hop are given up.
pub(super) const QUESTIONS: u8 = 3;

/// Whether a question is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solicited {
    /// It is.
    Yes,
    /// It could not be sent, or its account has none left.
    No,
}
