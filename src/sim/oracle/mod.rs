//! Oracles: what must always hold, and what is noted to judge it.

pub mod excuse;
pub(crate) mod exposure;
pub(crate) mod fairness;
mod fingerprint;
pub(crate) mod given_rules;
pub(crate) mod grant_oracle;
pub(crate) mod ledger;
pub(crate) mod marks;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod neighbours;
pub(crate) mod pages;
pub(crate) mod payers;
pub mod rules;
pub(crate) mod shares;
