//! Words that every layer uses: time, sides, addresses, prefixes, text, and why packets are dropped.
#![forbid(unsafe_code)]

pub(crate) mod address;
pub(crate) mod bug;
pub mod drop_reason;
pub mod host_name;
pub mod prefix;
pub mod rule_owners;
pub mod side;
pub(crate) mod sort;
pub(crate) mod text;
pub mod tick;
pub mod time;
