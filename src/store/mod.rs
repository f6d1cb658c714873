//! XenStore: the tree through which toolstack, backends and frontends find each other.
//!
//! [`Store`] is the client: it speaks the [`wire`] protocol over any [`StoreRing`] and knows no hypercall.
//! Whatever is asked is a future that the loop polls as replies come ([`Job`]): packets never wait for xenstored. Only
//! the control path comes here, never a packet.
//!
//! Facts: xen/include/public/io/xs_wire.h, docs/misc/xenstore.txt, XSA-349 (a flood of watch events must not
//! cost memory).
#![forbid(unsafe_code)]

pub(crate) mod client;
mod connection;
pub(crate) mod error;
pub(crate) mod events;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod job;
pub(crate) mod nodes;
pub(crate) mod path;
pub(crate) mod wire;

pub use client::{Store, Transaction};
pub use connection::Polled;
pub use error::StoreError;
pub use events::WatchEvent;
pub use job::Job;
pub use nodes::Nodes;

use core::fmt;

/// xenstored gave no sign of life for as long as the ring waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout;

/// How far both ends are with the ring, to look at when a reply does not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStatus {
    /// Bytes of requests that xenstored has not taken.
    pub asked: u32,
    /// Bytes of replies that we have not taken.
    pub answered: u32,
    /// Why xenstored has given us up, if it has (`XENSTORE_ERROR_*`).
    pub error: u32,
}

impl fmt::Display for RingStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, answered, error } = self;
        write!(f, "{asked} bytes of requests not taken by it, {answered} of replies not by us, error {error}")
    }
}

/// Bytes to and from xenstored, and the event channel that tells of them.
pub trait StoreRing {
    /// Puts as many of `bytes` as there is room for, notifies xenstored, and says how many.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// Takes as many bytes as there are and fit, notifies xenstored, and says how many.
    fn read(&mut self, bytes: &mut [u8]) -> usize;

    /// Sleeps until xenstored notifies us; at once when it has done so already. Waking for nothing is fine.
    fn wait(&mut self) -> Result<(), Timeout>;

    /// How far both ends are.
    fn status(&self) -> RingStatus;
}
