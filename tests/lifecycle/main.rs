//! The life of vifs, in every order: the pure machines of `vif::lifecycle` and the owners of addresses against a
//! model of what surrounds them.
//!
//! `every_order_of_*` goes through all orders of a few events and sees every combination of our state, the
//! toolstack's wish, the other end's state and event. `random_orders` goes on for long, with many vifs; the ignored
//! one for ten million events and more: `make lifecycle`.

mod backend;
mod frontend;
mod vif;

use ravelin::base::time::Moment;
use std::time::Duration;

/// Chance that is the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// How many random events a run of each machine takes.
const SHORT: u64 = 300_000;
const LONG: u64 = 12_000_000;

const START: Moment = Moment::from_nanoseconds(1_000_000_000);

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}
