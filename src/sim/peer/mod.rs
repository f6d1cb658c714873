//! Peers: frontends, backends, the toolstack; friendly ones and hostile ones.

pub mod backend;
pub mod buffers;
pub mod conduct;
pub mod evil;
pub mod frontend;
pub mod hostile;
pub mod mischief;
pub mod nic;
pub mod ring;
pub mod storm;
pub mod toolstack;
mod uplink_pages;
