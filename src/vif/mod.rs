//! Virtual network interfaces: where packets arrive and leave.
#![forbid(unsafe_code)]

pub(crate) mod backend_directory;
pub mod backpressure;
pub(crate) mod blank;
pub(crate) mod byte_limit;
pub mod channels;
pub mod chunks;
pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod deferred;
pub mod device_id;
pub(crate) mod event;
pub(crate) mod extra;
pub(crate) mod fair_queue;
pub mod features;
pub mod frame;
pub(crate) mod frontend_directory;
pub mod in_flight;
pub mod lifecycle;
pub(crate) mod look_limit;
pub mod netback;
pub mod netfront;
pub mod parcel;
pub(crate) mod per_domain;
pub(crate) mod platform;
pub mod ring;
pub(crate) mod rx;
pub mod slots;
pub mod token_bucket;
pub(crate) mod uplink;
pub(crate) mod vif_options;
