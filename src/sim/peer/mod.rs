//! Peers: frontends, backends, xenstored, the toolstack; friendly ones and hostile ones.

mod backend_attacks;
pub mod backend_config;
pub(crate) mod buffers;
pub mod console;
pub mod dom0;
pub(crate) mod frontend;
pub(crate) mod hostile;
pub(crate) mod malformed_slots;
mod netif;
pub mod nic;
pub mod qubesdb_daemon;
pub mod qubesdb_server;
pub(crate) mod ring;
pub(crate) mod store_daemon;
pub(crate) mod store_refusals;
pub mod storm;
pub(crate) mod toolstack;
pub(crate) mod uplink_backend;
mod uplink_checks;
mod uplink_link;
mod uplink_pages;
mod uplink_rings;
pub mod vchan_server;
