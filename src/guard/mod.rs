//! Judging: is a packet from whom it says, and may it begin a flow?
//!
//! Text becomes a [`rule`]; a rule is [`compiled`] into networks and services; compiled rules are arranged in a
//! [`section`] (one client's rules) or a [`permit`] list (between clients), and these with the port
//! [`forward`]s make a [`RuleTable`], which answers a [`Question`] without allocating and without reading its
//! rules one by one. [`ruleset`] does all of that for the rule file. What is not understood is never accepted.

pub mod antispoof;
pub mod compiled;
pub mod forward;
pub mod nest;
pub mod permit;
pub mod rule;
pub mod rule_error;
mod rule_list;
pub mod ruleset;
pub mod section;
pub mod service;
mod service_index;
pub mod table;
pub mod verdict;

pub use table::RuleTable;
pub use verdict::{Answer, Question};
