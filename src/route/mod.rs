//! Where packets go, to which neighbour, and what is sent back about those that go nowhere.
#![forbid(unsafe_code)]

pub(crate) mod destination;
pub mod fragmentation;
pub(crate) mod icmp_error;
pub mod neighbour;
pub(crate) mod proxy_arp;
pub(crate) mod reset;
pub(crate) mod segmentation;
pub(crate) mod uplink_arp;
