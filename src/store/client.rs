//! The XenStore client: matches replies to requests and sorts watch events out.

use super::StoreRing;
use super::error::StoreError;
use super::events::{Added, EventQueue, WatchEvent};
use super::nodes::Nodes;
use super::path::{self, MAX_VALUE_BYTES};
use super::wire::{Decoder, Kind, Message, RequestId, TransactionId, Violation, encode};
use crate::text::decimal;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt::Display;

/// Requests that may wait for a reply without anybody blocking on it (C xenstored allows 20 in all).
pub const MAX_TICKETS: usize = 16;

/// How often a transaction is tried before it is given up.
pub const TRANSACTION_ATTEMPTS: usize = 16;

/// Bytes taken from the ring at once: all it holds.
const PIECE_BYTES: usize = 1024;

/// Pieces taken per [`Store::poll`], so that a flood of events cannot hold the main loop.
const PIECES_PER_POLL: usize = 8;

/// Times a waiting call may be woken without its reply being there.
const MAX_WAKES: usize = 4096;

/// Whether the ring was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Everything was taken: sleeping until the next notification is safe.
    Drained,
    /// There is more: poll again before sleeping.
    More,
}

/// A request that was sent without waiting for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(RequestId);

#[derive(Debug)]
struct Pending {
    request: RequestId,
    kind: Kind,
    reply: Option<Result<Vec<u8>, StoreError>>,
}

/// The connection to xenstored.
///
/// Calls that wait take one round trip each and may consume the notification of a watch event that arrives
/// meanwhile: after them ask [`Store::next_event`] until it has none before going to sleep.
#[derive(Debug)]
pub struct Store<R> {
    ring: R,
    /// Encoded requests, or the rest of one, that the ring had no room for.
    unsent: Vec<u8>,
    decoder: Decoder,
    last_request: RequestId,
    pending: Vec<Pending>,
    events: EventQueue,
    broken: Option<Violation>,
}

impl<R: StoreRing> Store<R> {
    /// Uses a ring that nobody else reads or writes.
    pub fn new(ring: R) -> Self {
        Self {
            ring,
            unsent: Vec::new(),
            decoder: Decoder::default(),
            last_request: RequestId(0),
            pending: Vec::new(),
            events: EventQueue::default(),
            broken: None,
        }
    }

    /// The ring, for its event channel.
    pub fn ring(&self) -> &R {
        &self.ring
    }

    /// Asks to be told of changes at and below `path`; the first event comes at once. `token` is ours to
    /// choose, and names this watch only.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the token is in use; [`StoreError::TooBig`] when the quota of watches
    /// (100 in oxenstored) is used up.
    pub fn watch(&mut self, path: &str, token: &str) -> Result<(), StoreError> {
        path::check(path)?;
        if self.events.add(path, token) == Added::TokenTaken {
            return Err(StoreError::Exists);
        }
        let parts: [&[u8]; 4] = [path.as_bytes(), b"\0", token.as_bytes(), b"\0"];
        let reply = self.call(Kind::Watch, TransactionId::NONE, &parts);
        if reply.is_err() {
            self.events.remove(token);
        }
        reply.map(drop)
    }

    /// Ends a watch. Its events are gone from then on, also those that wait already.
    ///
    /// # Errors
    /// [`StoreError::NoEntry`] without such a watch.
    pub fn unwatch(&mut self, path: &str, token: &str) -> Result<(), StoreError> {
        path::check(path)?;
        self.events.remove(token);
        let parts: [&[u8]; 4] = [path.as_bytes(), b"\0", token.as_bytes(), b"\0"];
        self.call(Kind::Unwatch, TransactionId::NONE, &parts).map(drop)
    }

    /// Watches in place.
    pub fn watches(&self) -> usize {
        self.events.watches()
    }

    /// The next watch event that has arrived; see [`super::events`] for how they are coalesced.
    pub fn next_event(&mut self) -> Option<WatchEvent> {
        self.events.pop()
    }

    /// Runs `body` in a transaction, again and again while it meets changes by others: 16 times at most.
    ///
    /// The transaction is abandoned when `body` returns an error, so a body that must not recreate a node
    /// reads it first.
    ///
    /// # Errors
    /// That of `body`, or [`StoreError::Conflict`] after the last attempt.
    pub fn transaction<T>(
        &mut self,
        mut body: impl FnMut(&mut Transaction<'_, R>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..TRANSACTION_ATTEMPTS {
            let started = self.call(Kind::TransactionStart, TransactionId::NONE, &[b"\0"])?;
            let id = core::str::from_utf8(without_nul(&started)).ok().and_then(decimal);
            let id = TransactionId(id.ok_or(Violation::MalformedPayload(Kind::TransactionStart))?);
            let outcome = body(&mut Transaction { store: self, id });
            let ended = match &outcome {
                Ok(_) => self.call(Kind::TransactionEnd, id, &[b"T\0"]),
                // Nobody is there to hear that it is abandoned.
                Err(StoreError::Timeout | StoreError::Violation(_)) => return outcome,
                Err(_) => self.call(Kind::TransactionEnd, id, &[b"F\0"]),
            };
            match (outcome, ended) {
                (Err(StoreError::Conflict), _) | (Ok(_), Err(StoreError::Conflict)) => {}
                (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
                (Ok(value), Ok(_)) => return Ok(value),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Sends what waits to be sent and takes what has arrived; never waits.
    ///
    /// # Errors
    /// [`StoreError::Violation`] once xenstored has sent nonsense, from then on always.
    pub fn poll(&mut self) -> Result<Polled, StoreError> {
        if let Some(violation) = self.broken {
            return Err(violation.into());
        }
        self.flush();
        let mut bytes = [0; PIECE_BYTES];
        for _ in 0..PIECES_PER_POLL {
            let count = self.ring.read(&mut bytes);
            let Some(piece) = bytes.get(..count).filter(|piece| !piece.is_empty()) else {
                return Ok(Polled::Drained);
            };
            if let Err(violation) = self.accept(piece) {
                self.broken = Some(violation);
                return Err(violation.into());
            }
        }
        Ok(Polled::More)
    }

    /// Starts to read a node without waiting; [`Store::take`] has the value later.
    ///
    /// # Errors
    /// [`StoreError::TooManyRequests`] while 16 tickets are out.
    pub fn submit_read(&mut self, path: &str) -> Result<Ticket, StoreError> {
        path::check(path)?;
        self.submit(Kind::Read, &[path.as_bytes(), b"\0"])
    }

    /// Starts to write a node without waiting; [`Store::take`] has the outcome later.
    ///
    /// # Errors
    /// [`StoreError::TooManyRequests`] while 16 tickets are out; [`StoreError::TooLong`] above 2048 bytes.
    pub fn submit_write(&mut self, path: &str, value: impl Display) -> Result<Ticket, StoreError> {
        path::check(path)?;
        let value = value.to_string();
        if value.len() > MAX_VALUE_BYTES {
            return Err(StoreError::TooLong);
        }
        self.submit(Kind::Write, &[path.as_bytes(), b"\0", value.as_bytes()])
    }

    /// Sends a request without waiting.
    fn submit(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<Ticket, StoreError> {
        if self.pending.len() >= MAX_TICKETS {
            return Err(StoreError::TooManyRequests);
        }
        self.send(kind, TransactionId::NONE, parts)
    }

    /// The reply to a request that was submitted, once; `None` while it has not come.
    pub fn take(&mut self, ticket: Ticket) -> Option<Result<Vec<u8>, StoreError>> {
        let answered = |pending: &Pending| pending.request == ticket.0 && pending.reply.is_some();
        let index = self.pending.iter().position(answered)?;
        self.pending.swap_remove(index).reply
    }

    /// Gives up on a reply. The request may have been carried out, or may still be.
    pub fn forget(&mut self, ticket: Ticket) {
        self.pending.retain(|pending| pending.request != ticket.0);
    }

    /// Sends a request and waits for its reply.
    fn call(
        &mut self,
        kind: Kind,
        transaction: TransactionId,
        parts: &[&[u8]],
    ) -> Result<Vec<u8>, StoreError> {
        let ticket = self.send(kind, transaction, parts)?;
        let reply = self.wait_for(ticket);
        if reply.is_err() {
            self.forget(ticket);
        }
        reply
    }

    fn wait_for(&mut self, ticket: Ticket) -> Result<Vec<u8>, StoreError> {
        for _ in 0..MAX_WAKES {
            let polled = self.poll()?;
            if let Some(reply) = self.take(ticket) {
                return reply;
            }
            if polled == Polled::Drained {
                self.ring.wait()?;
            }
        }
        Err(StoreError::Timeout)
    }

    /// Queues a request for the ring.
    fn send(
        &mut self,
        kind: Kind,
        transaction: TransactionId,
        parts: &[&[u8]],
    ) -> Result<Ticket, StoreError> {
        if let Some(violation) = self.broken {
            return Err(violation.into());
        }
        // Zero is what watch events carry.
        let request = RequestId(self.last_request.0.checked_add(1).unwrap_or(1));
        encode(&mut self.unsent, kind, request, transaction, parts)?;
        self.last_request = request;
        self.pending.push(Pending { request, kind, reply: None });
        self.flush();
        Ok(Ticket(request))
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            let sent = self.ring.write(&self.unsent).min(self.unsent.len());
            if sent == 0 {
                return;
            }
            self.unsent.drain(..sent);
        }
    }

    fn accept(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        while let Some(message) = self.decoder.feed(&mut piece)? {
            if message.kind == Kind::WatchEvent {
                let (path, token) = event(&message.payload)?;
                self.events.push(path, token);
            } else {
                self.settle(message)?;
            }
        }
        Ok(())
    }

    /// Files a reply with its request. One that nobody waits for any more is dropped.
    fn settle(&mut self, message: Message) -> Result<(), Violation> {
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.request == message.request) else {
            return Ok(());
        };
        pending.reply = Some(match message.kind {
            Kind::Error => Err(StoreError::from_reply(without_nul(&message.payload))),
            kind if kind == pending.kind => Ok(message.payload),
            came => return Err(Violation::WrongReply { asked: pending.kind, came }),
        });
        Ok(())
    }
}

impl<R: StoreRing> Nodes for Store<R> {
    fn ask(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<Vec<u8>, StoreError> {
        self.call(kind, TransactionId::NONE, parts)
    }
}

/// Nodes as they were when a transaction began, plus its own changes.
#[derive(Debug)]
pub struct Transaction<'s, R> {
    store: &'s mut Store<R>,
    id: TransactionId,
}

impl<R: StoreRing> Nodes for Transaction<'_, R> {
    fn ask(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<Vec<u8>, StoreError> {
        self.store.call(kind, self.id, parts)
    }
}

/// Path and token of a watch event, each ended by NUL.
fn event(payload: &[u8]) -> Result<(&str, &str), Violation> {
    let mut parts = payload.split(|&byte| byte == 0);
    let mut next = || parts.next().and_then(|part| core::str::from_utf8(part).ok());
    match (next(), next(), next()) {
        (Some(path), Some(token), Some(_)) => Ok((path, token)),
        _ => Err(Violation::MalformedPayload(Kind::WatchEvent)),
    }
}

/// The bytes before the final NUL, if there is one.
fn without_nul(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\0").unwrap_or(payload)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
