//! What must never be: the violations that oracles report.

use crate::base::time::Moment;
use alloc::string::String;
use core::fmt;

/// Something that must not have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OracleViolation {
    /// Which oracle found it.
    pub oracle: &'static str,
    /// What it found.
    pub what: String,
    /// When.
    pub at: Moment,
}

impl fmt::Display for OracleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_nanoseconds() as f64 / 1e9;
        write!(f, "[{}] at {seconds:.6} s: {}", self.oracle, self.what)
    }
}
