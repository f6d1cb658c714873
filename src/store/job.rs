//! A conversation with XenStore that goes on whenever a reply has come, while the loop forwards packets.
//!
//! It is an `async fn` that its owner polls: there is one thread, and what wakes the loop is xenstored's event channel.

use alloc::boxed::Box;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// A conversation that ends in a `T`. Dropped before its end, it abandons its transaction.
pub struct Job<T>(Pin<Box<dyn Future<Output = T>>>);

impl<T> Job<T> {
    /// A conversation that has not begun: the first [`Self::poll`] sends its first requests.
    pub fn new(conversation: impl Future<Output = T> + 'static) -> Self {
        Self(Box::pin(conversation))
    }

    /// Goes on as far as the replies that have come allow. Must not be called again once it was ready.
    pub fn poll(&mut self) -> Poll<T> {
        self.0.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}
