//! What the firewall remembers: flows, their state and how long it lasts.

pub mod allowance;
pub mod fragments;
pub mod freshness;
pub mod index;
pub mod key;
pub mod passed;
pub mod record;
pub mod share;
pub mod siphash;
pub mod slab;
pub mod spans;
pub mod table;
pub mod tcp;
pub mod tick;
pub mod timeouts;
pub mod wheel;
