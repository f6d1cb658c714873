//! Translation: outer ports for inner endpoints, and headers rewritten from one to the other.
#![forbid(unsafe_code)]

pub mod ident;
pub mod mapping;
pub mod mapping_table;
pub mod ports;
pub mod prf;
pub mod quarantine;
pub mod quote;
pub mod rewrite;
pub mod translation;
