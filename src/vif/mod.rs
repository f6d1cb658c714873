//! Virtual network interfaces: where packets arrive and leave.
#![forbid(unsafe_code)]

pub mod backend_directory;
pub mod backpressure;
pub mod blank;
pub mod byte_limit;
pub mod channels;
pub mod chunks;
pub mod client;
pub mod connect;
pub mod deferred;
pub mod device_id;
pub mod event;
pub mod extra;
pub mod fair_queue;
pub mod features;
pub mod frame;
pub mod frontend_directory;
pub mod in_flight;
pub mod lifecycle;
pub mod look_limit;
pub mod netback;
pub mod netfront;
pub mod per_domain;
pub mod platform;
pub mod ring;
pub mod rx;
pub mod slots;
pub mod token_bucket;
pub mod uplink;
pub mod words;
