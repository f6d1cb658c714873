//! Peers: frontends, backends, xenstored, the toolstack; friendly ones and hostile ones.

mod backend_attacks;
pub mod backend_config;
pub mod buffers;
pub mod console;
pub mod frontend;
pub mod hostile;
pub mod malformed_slots;
mod netif;
pub mod nic;
pub mod ring;
pub mod store_daemon;
pub mod storm;
pub mod toolstack;
pub mod uplink_backend;
mod uplink_checks;
mod uplink_link;
mod uplink_pages;
mod uplink_rings;
