//! Where packets go, to which neighbour, and what is sent back about those that go nowhere.

pub mod cut;
pub mod destination;
pub mod neighbour;
pub mod proxy_arp;
pub mod report;
pub mod reset;
pub mod segmentation;
pub mod uplink_arp;
