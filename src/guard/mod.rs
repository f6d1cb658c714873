//! Judging: which packets may begin a flow.

pub mod rule;
pub mod rule_error;
pub mod verdict;
