//! Virtual network interfaces: where packets arrive and leave.

pub mod blank;
pub mod client;
pub mod drops;
pub mod frame;
pub mod held;
pub mod lifecycle;
pub mod netback;
pub mod netfront;
pub mod ring;
pub mod rx;
pub mod segments;
pub mod slots;
pub mod uplink;
