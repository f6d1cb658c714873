//! Directing: which way out, and to which neighbour.

pub mod neighbour;
pub mod proxy_arp;
