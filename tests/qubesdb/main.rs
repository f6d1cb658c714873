//! The QubesDB client against dom0's daemon as it is (`sim::peer::qubesdb_server`), and against one that is not.
#![allow(missing_docs)]
#![cfg(feature = "sim")]

mod conversation;
mod hostile;
mod memory;
mod pair;
#[allow(dead_code)]
#[path = "../support/random.rs"]
mod random;

use ravelin::xen::meter::Meter;

#[global_allocator]
static METER: Meter = Meter;
