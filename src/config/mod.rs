//! What the firewall is told: at boot by the command line and the rule file, later by whoever may change it.
//!
//! [`Live`] is the one home of everything that can change while packets pass. Its setters put a [`Change`] into a queue
//! for the data plane, which takes it up between two passes.
#![forbid(unsafe_code)]

pub mod change;
pub mod command_line;
pub(crate) mod host_address;
pub(crate) mod limits;
pub mod live;
pub mod mistake;
mod option_value;
pub mod qube_rules;
pub mod rule_config;
pub mod setting;
pub(crate) mod uplink_route;

pub use change::{Change, ChangeQueue};
pub use live::Live;
