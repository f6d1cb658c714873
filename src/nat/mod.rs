//! Translation: outer ports for inner endpoints, and headers rewritten from one to the other.
#![forbid(unsafe_code)]

pub(crate) mod ident;
pub mod mapping;
pub mod mapping_table;
pub mod ports;
pub(crate) mod quarantine;
pub(crate) mod quote;
pub(crate) mod rewrite;
pub mod translation;
