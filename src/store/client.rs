//! The XenStore client: each request is a future that is ready when its reply has come.

use super::connection::{Connection, Polled, Ticket, without_nul};
use super::error::StoreError;
use super::events::{Added, WatchEvent};
use super::nodes::{Nodes, Replies};
use super::path;
use super::wire::{MessageKind, ProtocolViolation, TransactionId};
use super::{RingStatus, StoreRing};
use crate::base::text::decimal;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{RefCell, RefMut};
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

/// How often a transaction is tried before it is given up.
pub const TRANSACTION_ATTEMPTS: usize = 16;

/// How often [`Store::wait_for`] may look for its end before it gives up.
const MAX_WAKES: usize = 4096;

/// The way to XenStore; copies of it are the same connection.
///
/// Requests are futures: a [`Job`](super::Job) polls them whenever [`Store::poll`] has taken in replies
/// ([`Store::take_news`]). Only before there are packets may the kernel wait for one ([`Store::wait_for`]).
#[derive(Debug)]
pub struct Store<R>(Rc<RefCell<Connection<R>>>);

impl<R> Clone for Store<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: StoreRing> Store<R> {
    /// Uses a ring that nobody else reads or writes.
    pub fn new(ring: R) -> Self {
        Self(Rc::new(RefCell::new(Connection::new(ring))))
    }

    /// The connection, borrowed. The borrow must end before the next await: other conversations borrow it, too.
    fn connection(&self) -> RefMut<'_, Connection<R>> {
        self.0.borrow_mut()
    }

    /// Asks to be told of changes at and below `path`; the first event comes at once. `token` is ours to
    /// choose, and names this watch only.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the token is in use; [`StoreError::TooBig`] when the quota of watches
    /// (100 in oxenstored) is used up.
    pub async fn watch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        path::check(path)?;
        if self.connection().events.add(path, token) == Added::TokenTaken {
            return Err(StoreError::Exists);
        }
        let parts: [&[u8]; 4] = [path.as_bytes(), b"\0", token.as_bytes(), b"\0"];
        let reply = self.ask(MessageKind::Watch, &parts).await;
        if reply.is_err() {
            self.connection().events.remove(token);
        }
        reply.map(drop)
    }

    /// Ends a watch. Its events are gone from then on, also those that wait already.
    ///
    /// # Errors
    /// [`StoreError::NoEntry`] without such a watch.
    pub async fn unwatch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        path::check(path)?;
        self.connection().events.remove(token);
        let parts: [&[u8]; 4] = [path.as_bytes(), b"\0", token.as_bytes(), b"\0"];
        self.ask(MessageKind::Unwatch, &parts).await.map(drop)
    }

    /// Watches in place.
    pub fn watches(&self) -> usize {
        self.connection().events.watches()
    }

    /// The next watch event that has arrived; see [`super::events`] for how they are coalesced.
    pub fn next_event(&self) -> Option<WatchEvent> {
        self.connection().events.pop()
    }

    /// Sends what waits to be sent and takes what has arrived; never waits.
    ///
    /// # Errors
    /// [`StoreError::Violation`] once xenstored has sent nonsense, from then on always.
    pub fn poll(&self) -> Result<Polled, StoreError> {
        self.connection().poll()
    }

    /// Whether something has happened since the last call that a conversation may wait for: all of them are to be
    /// polled.
    pub fn take_news(&self) -> bool {
        self.connection().take_news()
    }

    /// Requests whose reply has not come.
    pub fn unanswered(&self) -> usize {
        self.connection().unanswered()
    }

    /// What is asked and not answered, and how far both ends are with the ring: to be said when no reply comes.
    pub fn status(&self) -> (Option<MessageKind>, RingStatus) {
        self.connection().status()
    }

    /// Replies that have come since boot.
    pub fn replies(&self) -> u64 {
        self.connection().replies()
    }

    /// Runs `body` in a transaction, again and again while it meets changes by others: 16 times at most.
    ///
    /// The transaction is abandoned when `body` returns an error, so a body that must not recreate a node
    /// reads it first.
    ///
    /// # Errors
    /// That of `body`, or [`StoreError::Conflict`] after the last attempt.
    pub async fn transaction<T>(
        &self,
        mut body: impl AsyncFnMut(&Transaction<R>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..TRANSACTION_ATTEMPTS {
            let transaction = Transaction::begin(self).await?;
            let outcome = body(&transaction).await;
            let ended = transaction.end(if outcome.is_ok() { COMMIT } else { ABANDON }).await;
            match (outcome, ended) {
                (Err(StoreError::Conflict), _) | (Ok(_), Err(StoreError::Conflict)) => {}
                (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
                (Ok(value), Ok(())) => return Ok(value),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Sends a request as soon as it may be sent; its reply is the future that comes back.
    async fn send(
        &self,
        kind: MessageKind,
        transaction: TransactionId,
        parts: &[&[u8]],
    ) -> Result<Reply<R>, StoreError> {
        let ticket = poll_fn(|_| {
            let mut connection = self.connection();
            match connection.check() {
                Ok(()) if connection.is_full() => Poll::Pending,
                Ok(()) => Poll::Ready(connection.send(kind, transaction, parts)),
                Err(error) => Poll::Ready(Err(error)),
            }
        });
        Ok(Reply { store: self.clone(), ticket: ticket.await? })
    }

    /// Waits for a conversation's end while nothing else happens: for the boot, when there are no packets yet.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] when xenstored is silent.
    pub fn wait_for<T>(
        &self,
        conversation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut conversation = pin!(conversation);
        for _ in 0..MAX_WAKES {
            if let Poll::Ready(end) = conversation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return end;
            }
            // An error here has broken the connection, which ends the conversation at its next step.
            if self.poll() == Ok(Polled::Drained) && !self.take_news() {
                self.connection().ring.wait()?;
            }
        }
        Err(StoreError::Timeout)
    }
}

impl<R: StoreRing> Nodes for Store<R> {
    async fn ask(&self, kind: MessageKind, parts: &[&[u8]]) -> Result<Vec<u8>, StoreError> {
        self.send(kind, TransactionId::NONE, parts).await?.await
    }

    async fn ask_all(&self, kind: MessageKind, requests: &[[&[u8]; 3]]) -> Result<Replies, StoreError> {
        ask_all(self, TransactionId::NONE, kind, requests).await
    }
}

/// The reply to a request that was sent.
pub(super) struct Reply<R: StoreRing> {
    store: Store<R>,
    ticket: Ticket,
}

impl<R: StoreRing> Future for Reply<R> {
    type Output = Result<Vec<u8>, StoreError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let mut connection = self.store.connection();
        match (connection.take(self.ticket), connection.check()) {
            (Some(reply), _) => Poll::Ready(reply),
            (None, Err(error)) => Poll::Ready(Err(error)),
            (None, Ok(())) => Poll::Pending,
        }
    }
}

impl<R: StoreRing> Drop for Reply<R> {
    fn drop(&mut self) {
        self.store.connection().forget(self.ticket);
    }
}

/// How a transaction ends.
type TransactionEnd = &'static [u8];
const COMMIT: TransactionEnd = b"T\0";
const ABANDON: TransactionEnd = b"F\0";

/// Nodes as they were when a transaction began, plus its own changes.
#[derive(Debug)]
pub struct Transaction<R: StoreRing> {
    store: Store<R>,
    id: TransactionId,
    stage: TransactionStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TransactionStage {
    /// xenstored knows nothing of it yet.
    Counted,
    Open,
    Ended,
}

impl<R: StoreRing> Transaction<R> {
    async fn begin(store: &Store<R>) -> Result<Self, StoreError> {
        poll_fn(|_| if store.connection().open_transaction() { Poll::Ready(()) } else { Poll::Pending })
            .await;
        let mut transaction =
            Self { store: store.clone(), id: TransactionId::NONE, stage: TransactionStage::Counted };
        let started = store.ask(MessageKind::TransactionStart, &[b"\0"]).await?;
        let id = core::str::from_utf8(without_nul(&started)).ok().and_then(decimal);
        transaction.id =
            TransactionId(id.ok_or(ProtocolViolation::MalformedPayload(MessageKind::TransactionStart))?);
        transaction.stage = TransactionStage::Open;
        Ok(transaction)
    }

    async fn end(mut self, decision: TransactionEnd) -> Result<(), StoreError> {
        let reply = self.store.send(MessageKind::TransactionEnd, self.id, &[decision]).await?;
        self.stage = TransactionStage::Ended;
        reply.await.map(drop)
    }
}

impl<R: StoreRing> Drop for Transaction<R> {
    fn drop(&mut self) {
        let mut connection = self.store.connection();
        connection.close_transaction();
        if self.stage == TransactionStage::Open
            && let Ok(ticket) = connection.send(MessageKind::TransactionEnd, self.id, &[ABANDON])
        {
            // Nobody is there to hear that it is abandoned.
            connection.forget(ticket);
        }
    }
}

impl<R: StoreRing> Nodes for Transaction<R> {
    async fn ask(&self, kind: MessageKind, parts: &[&[u8]]) -> Result<Vec<u8>, StoreError> {
        self.store.send(kind, self.id, parts).await?.await
    }

    async fn ask_all(&self, kind: MessageKind, requests: &[[&[u8]; 3]]) -> Result<Replies, StoreError> {
        ask_all(&self.store, self.id, kind, requests).await
    }
}

/// Sends requests one behind the other and waits for all their replies: one round trip.
async fn ask_all<R: StoreRing>(
    store: &Store<R>,
    transaction: TransactionId,
    kind: MessageKind,
    requests: &[[&[u8]; 3]],
) -> Result<Replies, StoreError> {
    let mut waiting = Vec::with_capacity(requests.len());
    for parts in requests {
        waiting.push(store.send(kind, transaction, parts).await?);
    }
    let mut replies = Vec::with_capacity(waiting.len());
    for reply in waiting {
        replies.push(reply.await);
    }
    Ok(replies)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
