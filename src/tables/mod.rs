//! Containers of a fixed size, allocated once. They know accounts and ticks, and nothing of flows.
#![forbid(unsafe_code)]

pub mod allowance;
pub mod index;
pub mod share;
pub mod siphash;
pub mod slab;
pub mod wheel;
