//! Virtual network interfaces: where packets arrive and leave.

pub mod abilities;
pub mod announcement;
pub mod backend_directory;
pub mod blank;
pub mod byte_limit;
pub mod channels;
pub mod client;
pub mod drops;
pub mod extra;
pub mod fair_queue;
pub mod frame;
pub mod frontend_directory;
pub mod held;
pub mod in_flight;
pub mod intake;
pub mod lifecycle;
pub mod netback;
pub mod netfront;
pub mod ring;
pub mod rx;
pub mod segments;
pub mod slots;
pub mod token_bucket;
pub mod uplink;
pub mod words;
