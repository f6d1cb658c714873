//! netfront and netback against bare rings, with nobody behind them.
//!
//! Needs `--features sim`, for the memory.
#![cfg(feature = "sim")]

mod collect;
mod deliver;
mod pages;
mod receive;
#[path = "../../benches/loopback/stub.rs"]
mod stub;
mod transmit;
mod turn;
