//! The fast path: what it passes the whole engine passes the same way, and what is not usual it leaves to that, unchanged.
#![allow(missing_docs)]

#[path = "../support/mod.rs"]
mod support;
mod twins;
mod usual;
