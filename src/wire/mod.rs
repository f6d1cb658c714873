//! Reading and writing packets, header by header.

pub mod arp;
pub mod ethernet;
