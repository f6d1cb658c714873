//! The kernel's loop after boot: what moves packets, what talks to XenStore, and the order in which both are done.
#![forbid(unsafe_code)]

mod backend_devices;
mod client_exchange;
mod client_vifs;
mod control;
mod dataplane;
pub mod egress;
pub mod event;
pub mod event_log;
mod fast_lane;
mod inquiry;
pub mod measure;
pub mod names;
mod new_device;
pub mod ownership;
mod qubes_announcement;
mod qubes_config;
pub mod qubesdb;
mod reconnect_pause;
mod report;
pub(crate) mod requests;
mod store_silence;
mod turn;
mod uplink_arp;
mod uplink_device;
mod uplink_search;
mod vifs;

pub use turn::Firewall;
