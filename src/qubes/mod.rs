//! QubesDB: what dom0 tells a qube, and the little that a qube tells dom0.
//!
//! dom0 runs one daemon per qube. Over a vchan it sends the whole database once, on request, and then each change; we answer
//! each change and write a few entries of our own. Here is our side of that conversation, from bytes to bytes: whoever owns
//! the vchan ([`crate::kernel`]) hands in what was read, sends what is in [`QubesDb::output`], and asks for
//! [`QubesDb::next_update`].
//!
//! The daemon is started once per start of the qube, and a message that it does not like ends it for good: then no rule
//! changes reach us any more. What it dies of was read in its sources (QubesOS/qubes-core-qubesdb, `daemon/db-cmds.c` and
//! `daemon/db-daemon.c`) and is listed in [`qubesdb`]. In the other direction all that comes is checked and bounded, as from any
//! peer, although who controls dom0 controls us.
#![forbid(unsafe_code)]

pub mod database;
pub(crate) mod entries;
pub(crate) mod fault;
pub mod message;
pub(crate) mod path;
pub mod qubesdb;
pub(crate) mod rule_sources;
pub(crate) mod send_queue;
pub mod settings;
pub(crate) mod written;

pub use database::{ConfigKind, Database};
pub use fault::{ProtocolFault, SourceFault, ValueFault};
pub use qubesdb::{QubesDb, Update};
pub use settings::QubesSettings;
