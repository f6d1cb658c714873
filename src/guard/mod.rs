//! Judging: is a packet from whom it says, and may it begin a flow?
//!
//! Text becomes a [`rule`]; a rule is [`compiled`] into networks and services; compiled rules are arranged in a
//! [`section`] (one client's rules) or a [`permit`] list (between clients), and these with the port
//! [`forward`]s make a [`RuleTable`], which answers a [`FlowRequest`] with a [`Ruling`] without allocating and
//! without reading its rules one by one. [`ruleset`] does all of that for the rule file. What is not understood
//! is never accepted. A rule knows where it was written ([`rule_id`]), a ruling names its rule, and how often
//! each was the one is counted in [`hits`], across a change of the rules if the rule stays. What QubesDB has changes
//! while packets pass: a [`rule_update`] brings it into the table.
#![forbid(unsafe_code)]

pub(crate) mod antispoof;
pub mod client_section;
pub mod compiled;
mod decisions;
pub mod forward;
pub(crate) mod hits;
pub mod keyed_lines;
mod live_rules;
pub mod permit;
pub mod port_range;
pub(crate) mod prefix_index;
pub mod rule;
pub(crate) mod rule_error;
pub mod rule_id;
mod rule_index;
pub(crate) mod rule_key;
mod rule_list;
pub(crate) mod rule_text;
pub(crate) mod rule_texts;
pub mod rule_update;
pub mod ruleset;
pub mod ruling;
pub mod section;
pub(crate) mod service;
mod service_index;
pub mod table;

pub use ruling::{Answer, FlowRequest, Ruling};
pub use table::RuleTable;
