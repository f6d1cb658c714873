//! What the firewall remembers: flows, their state and how long it lasts.
#![forbid(unsafe_code)]

pub mod end;
pub mod fragments;
pub mod freshness;

pub mod key;
pub mod lists;
pub mod passed;
pub mod record;

pub mod coverage;
pub mod table;
pub mod tcp;

pub mod timeouts;
