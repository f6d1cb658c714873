//! Where packets go, to which neighbour, and what is sent back about those that go nowhere.
#![forbid(unsafe_code)]

pub mod destination;
pub mod fragmentation;
pub mod icmp_error;
pub mod neighbour;
pub mod proxy_arp;
pub mod reset;
pub mod segmentation;
pub mod uplink_arp;
