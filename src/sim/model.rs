//! A plain, slow model of what the firewall may do with packets.

use super::machine::Machine;
use crate::xen::DomainId;

/// A client puts a frame into its ring.
pub fn client_sends(_machine: &mut Machine, _client: DomainId, _frame: &[u8]) {}

/// A client takes a frame from its ring.
pub fn client_receives(_machine: &mut Machine, _client: DomainId, _frame: &[u8]) {}

/// The uplink's backend takes a frame from its ring.
pub fn uplink_receives(_machine: &mut Machine, _frame: &[u8]) {}

/// The uplink's backend puts a frame into its ring.
pub fn uplink_sends(_machine: &mut Machine, _frame: &[u8]) {}
