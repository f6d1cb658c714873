//! Translation: outer ports for inner endpoints, and headers rewritten from one to the other.

pub mod dice;
pub mod embedded;
pub mod ident;
pub mod mapping;
pub mod ports;
pub mod rest;
pub mod rewrite;
