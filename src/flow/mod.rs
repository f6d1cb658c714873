//! What the firewall remembers: flows, their state and how long it lasts.
#![forbid(unsafe_code)]

pub(crate) mod end;
pub(crate) mod fragments;
pub(crate) mod freshness;

pub mod key;
pub(crate) mod lists;
pub(crate) mod passed;
pub(crate) mod record;

pub(crate) mod coverage;
pub(crate) mod table;
pub(crate) mod tcp;

pub(crate) mod timeouts;
