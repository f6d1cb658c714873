//! The simulated Xen: the whole kernel loop on the host, deterministic, against friendly and hostile peers.
//!
//! The kernel under test is the real one: `Firewall` with its drivers and its engine, over
//! [`domain::SimXen`] and [`domain::SimRing`]. Around it is a [`world::World`]: a [`machine::Machine`] that
//! keeps memory, grants, event channels and XenStore by Xen's rules, and peers that a seeded scheduler lets
//! act between any two steps of the kernel. A seed determines a run, bit for bit. See `docs/testing.md`.

pub mod books;
pub mod channels;
pub mod clock;
pub mod console;
pub mod dice;
pub mod domain;
pub mod fairness;
pub mod grants;
pub mod ledger;
pub mod life;
pub mod machine;
pub mod memory;
pub mod model;
pub mod net;
pub mod oracle;
pub mod pages;
pub mod payers;
pub mod peer;
pub mod rivals;
pub mod rules;
pub mod run;
pub mod scenario;
pub mod shares;
mod shown;
pub mod store;
pub mod trace;
pub mod watcher;
pub mod world;
