//! What is behind the simulated vifs: hosts with TCP/IP stacks, and generators of nonsense.

pub(crate) mod apps;
pub mod bulk;
pub(crate) mod flaky;
pub mod flood;
pub(crate) mod greedy;
pub(crate) mod link;
pub(crate) mod names;
pub(crate) mod nonsense;
pub(crate) mod outside;
pub(crate) mod scripted;
pub(crate) mod server;
pub(crate) mod stack;
pub(crate) mod transfer;
pub(crate) mod web;

use crate::base::time::Moment;
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use alloc::vec::Vec;

/// A network host, or a whole network, behind a vif.
pub trait Host {
    /// An Ethernet frame arrives; its checksums are complete.
    fn receive(&mut self, frame: Vec<u8>);

    /// Lets the host do what is due.
    fn poll(&mut self, now: Moment, ledger: &mut Ledger, prng: &mut Prng);

    /// The next frame it sends, if any; checksums complete.
    fn transmit(&mut self) -> Option<Vec<u8>>;

    /// When it wants to be polled although nothing arrived.
    fn deadline(&mut self, now: Moment) -> Option<Moment>;

    /// Whether what it sends obeys the protocols, so that all of it counts.
    fn is_honest(&self) -> bool {
        true
    }
}
