//! An outer port for an inner endpoint, and why there may be none.

use super::ports::PoolKind;
use crate::base::tick::Tick;
use crate::tables::share::Account;

/// An inner endpoint and the port that stands for it outside.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    pub(super) owner: Account,
    pub(super) pool: PoolKind,
    pub(super) inner_port: u16,
    pub(super) outer_port: u16,
    /// Flows that use it; without any it is in quarantine.
    pub(super) flows: u32,
    /// The last second of its quarantine.
    pub(super) quarantined_until: Tick,
}

impl Mapping {
    /// Where its outer port is from.
    pub const fn pool(&self) -> PoolKind {
        self.pool
    }

    /// Its outer port.
    pub const fn outer_port(&self) -> u16 {
        self.outer_port
    }
}

/// Why there is no port for a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPort {
    /// The client holds as many as it may.
    ClientLimit,
    /// No port of this protocol and class is free.
    PoolEmpty,
}

/// What a new flow lacks for a port, and whose flow may be ended for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Why there is none.
    pub reason: NoPort,
    /// What a flow must keep to be worth ending.
    pub want: Want,
    /// Who has too much of it, when the client has less than its part.
    pub debtor: Option<Account>,
}

/// What a new flow lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A place in the table.
    Place,
    /// A mapping.
    Mapping,
    /// A port of this pool.
    Port(PoolKind),
}

/// How many mappings there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingLimits {
    /// In all.
    pub mappings: u32,
    /// Ports of one pool that one client may hold, those in quarantine included.
    pub ports_per_client: u32,
}
