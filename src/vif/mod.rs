//! Virtual network interfaces: where packets arrive and leave.

pub mod abilities;
pub mod blank;
pub mod channels;
pub mod client;
pub mod drops;
pub mod extra;
pub mod frame;
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
pub mod uplink;
