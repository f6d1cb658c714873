//! Judging: which packets may begin a flow.

pub mod antispoof;
pub mod compiled;
pub mod forward;
pub mod nest;
pub mod permit;
pub mod rule;
pub mod rule_error;
mod rule_list;
pub mod section;
pub mod service;
mod service_index;
pub mod table;
pub mod verdict;

pub use table::RuleTable;
pub use verdict::{Answer, Question};
