//! What cannot happen, if it happens.
//!
//! Whoever meets a state that the rest of the kernel should have made impossible says so with [`bug`] and goes on the
//! safe way: what is at hand is given up. Under debug assertions, which tests and the simulation have, it is the end.

use core::panic::Location;
use core::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Says that `what` happened, which cannot. Panics under debug assertions; else it is counted, and the first one logged.
#[cold]
#[inline(never)]
#[track_caller]
pub fn bug(what: &str) {
    let place = Location::caller();
    if cfg!(debug_assertions) {
        panic!("bug: {what}, at {place}");
    }
    if COUNT.fetch_add(1, Ordering::Relaxed) == 0 {
        log::error!("bug: {what}, at {place}; please report this");
    }
}

/// How often that was said since boot.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// For what is always there.
pub trait OrBug: Sized {
    /// The same; [`bug`] when it is not there.
    #[track_caller]
    fn or_bug(self, what: &str) -> Self;
}

impl<T> OrBug for Option<T> {
    #[inline(always)]
    fn or_bug(self, what: &str) -> Self {
        if self.is_none() {
            bug(what);
        }
        self
    }
}

impl<T, E> OrBug for Result<T, E> {
    #[inline(always)]
    fn or_bug(self, what: &str) -> Self {
        if self.is_err() {
            bug(what);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_no_bug() {
        assert_eq!((Some(1).or_bug("one"), Ok::<_, ()>(2).or_bug("two")), (Some(1), Ok(2)));
        assert_eq!(count(), 0);
    }

    #[test]
    #[should_panic(expected = "bug: nothing, at src/base/bug.rs")]
    fn what_cannot_happen_stops_whoever_tests() {
        None::<u8>.or_bug("nothing");
    }
}
