//! Ravelin: a firewall VM for Xen, as one library that builds for the kernel and for the host.
//!
//! The folders follow a packet: it arrives on a [`vif`], is read ([`wire`]), judged ([`guard`]),
//! remembered ([`flow`]), rewritten ([`nat`]), directed ([`route`]) and leaves on a [`vif`].
//! [`engine`] calls these stages in order. Only [`xen`] knows the hypervisor and contains unsafe code.
//!
//! Public is what the kernel's binary, the tests, benches and examples use; every other module is the crate's own, so that
//! the compiler says what nobody uses any more.
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "sim"))]
extern crate std;

pub mod base;
pub mod config;
pub mod engine;
pub mod flow;
pub mod guard;
pub mod kernel;
pub mod nat;
pub mod qubes;
pub mod route;
#[cfg(feature = "sim")]
pub mod sim;
pub mod store;
pub mod tables;
pub mod vchan;
pub mod vif;
pub mod wire;
pub mod xen;
