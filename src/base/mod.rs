//! Words that every layer uses: time, sides, addresses, prefixes, text, and why packets are dropped.
#![forbid(unsafe_code)]

pub mod address;
pub mod bug;
pub mod drop_reason;
pub mod prefix;
pub mod side;
pub mod sort;
pub mod text;
pub mod tick;
pub mod time;
