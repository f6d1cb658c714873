//! vchan: a stream of bytes in each direction between two domains, over pages of the one that serves (libxenvchan).
//!
//! We are the client: the server's page, event channel and rings are announced in XenStore, and taken up by
//! [`Vchan::connect`]. All that the server writes is read once and checked; an index that cannot be breaks the channel
//! ([`VchanBroken`]) and nothing else. Layout and protocol: `xen/include/public/io/libxenvchan.h`, and what
//! `tools/libs/vchan` of Xen 4.17 to 4.19 does.
#![forbid(unsafe_code)]

mod channel;
mod interface;
mod read_end;
mod write_end;

pub use channel::{ConnectError, Readiness, Vchan, Wish};
pub use interface::VchanBroken;
