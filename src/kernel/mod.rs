//! The kernel's loop after boot: what moves packets, what talks to XenStore, and the order in which both are done.

mod client_vifs;
mod control;
pub mod egress;
pub mod measure;
pub mod ownership;
mod report;
mod requests;
mod store_silence;
mod turn;
mod uplink_device;

pub use turn::Firewall;
