//! Containers of a fixed size, allocated once, and accounts of what is limited. They know accounts and ticks, and nothing of
//! flows.
#![forbid(unsafe_code)]

pub mod allowance;
pub(crate) mod index;
pub mod memory_shares;
pub(crate) mod multilinear;
pub(crate) mod prf;
pub mod share;
pub(crate) mod siphash;
pub mod slab;
pub(crate) mod wheel;
