//! The simulated Xen: the whole kernel loop on the host, deterministic, against friendly and hostile peers.
//!
//! The kernel under test is the real one, with its drivers and its engine, over [`machine::kernel_domain::SimXen`] and
//! [`machine::kernel_domain::SimRing`]. Around it is a [`machine::world::World`]: a [`machine::Machine`] that keeps
//! memory, grants, event channels and XenStore by Xen's rules, and peers that a seeded scheduler lets act between any two
//! steps of the kernel. A seed determines a run, bit for bit. See `docs/testing.md`.
#![forbid(unsafe_code)]

pub mod cast;
pub(crate) mod clock;
pub mod competition;
pub(crate) mod dom0_plan;
pub(crate) mod end_checks;
pub mod frame;
pub mod host;
pub mod injection;
pub mod life;
pub mod machine;
pub mod oracle;
pub mod peer;
pub(crate) mod prng;
pub mod qube;
pub mod reconfigure;
pub mod run;
pub mod scenario;
pub(crate) mod store;
pub mod trace;
pub mod violation;
