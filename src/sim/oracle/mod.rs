//! Oracles: what must always hold, and what is noted to judge it.

pub mod excuse;
pub mod exposure;
pub mod fairness;
mod fingerprint;
pub mod grant_oracle;
pub mod ledger;
pub mod marks;
pub mod memory;
pub mod model;
pub mod neighbours;
pub mod pages;
pub mod payers;
pub mod rules;
pub mod shares;
