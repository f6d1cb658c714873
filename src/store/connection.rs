//! The connection to xenstored: bytes in and out, replies filed with their requests, watch events sorted out.
//!
//! Nothing here waits.

use super::error::StoreError;
use super::events::EventQueue;
use super::wire::{Decoder, Message, MessageKind, ProtocolViolation, RequestId, TransactionId, encode};
use super::{RingStatus, StoreRing};
use crate::base::bug::OrBug;
use alloc::vec::Vec;

/// Requests that may wait for a reply at once (C xenstored allows 20).
const MAX_UNANSWERED: usize = 16;

/// Transactions that may be open at once (both daemons allow 10).
const MAX_TRANSACTIONS: usize = 4;

/// Bytes taken from the ring at once: all it holds.
const PIECE_BYTES: usize = 1024;

/// Pieces taken per [`Connection::poll`], so that a flood of events cannot hold the main loop.
const PIECES_PER_POLL: usize = 8;

/// Whether the ring was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Everything was taken: sleeping until the next notification is safe.
    Drained,
    /// There is more: poll again before sleeping.
    More,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(RequestId);

#[derive(Debug)]
struct Pending {
    request: RequestId,
    kind: MessageKind,
    reply: Option<Result<Vec<u8>, StoreError>>,
}

/// The connection.
#[derive(Debug)]
pub struct Connection<R> {
    pub(super) ring: R,
    pub(super) events: EventQueue,
    /// Encoded requests, or the rest of one, that the ring had no room for.
    unsent: Vec<u8>,
    decoder: Decoder,
    last_request: RequestId,
    pending: Vec<Pending>,
    transactions: usize,
    replies: u64,
    news: bool,
    broken: Option<ProtocolViolation>,
}

impl<R: StoreRing> Connection<R> {
    /// Uses a ring that nobody else reads or writes.
    pub fn new(ring: R) -> Self {
        Self {
            ring,
            events: EventQueue::default(),
            unsent: Vec::new(),
            decoder: Decoder::default(),
            last_request: RequestId(0),
            pending: Vec::new(),
            transactions: 0,
            replies: 0,
            news: false,
            broken: None,
        }
    }

    /// Sends what waits to be sent and takes what has arrived.
    ///
    /// # Errors
    /// [`StoreError::Violation`] once xenstored has sent nonsense, from then on always.
    pub fn poll(&mut self) -> Result<Polled, StoreError> {
        self.check()?;
        self.flush();
        for _ in 0..PIECES_PER_POLL {
            // Nothing is taken where both ends are further apart than the ring is long.
            if self.ring.status().answered == 0 || self.take_piece()? == 0 {
                return Ok(Polled::Drained);
            }
        }
        Ok(Polled::More)
    }

    /// Takes one piece of what xenstored sent, and says how many bytes that were. Apart, as in most polls there is none.
    #[inline(never)]
    fn take_piece(&mut self) -> Result<usize, StoreError> {
        let mut bytes = [0; PIECE_BYTES];
        let count = self.ring.read(&mut bytes);
        if let Err(violation) = self.accept(bytes.get(..count).unwrap_or_default()) {
            self.broken = Some(violation);
            // Whoever waits for a reply is to hear of it.
            self.news = true;
            return Err(violation.into());
        }
        Ok(count)
    }

    /// Whether xenstored can still be believed.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), StoreError> {
        self.broken.map_or(Ok(()), |violation| Err(violation.into()))
    }

    /// Requests whose reply has not come.
    pub fn unanswered(&self) -> usize {
        self.pending.iter().filter(|pending| pending.reply.is_none()).count()
    }

    /// What is asked and not answered, and how far both ends are with the ring.
    pub fn status(&self) -> (Option<MessageKind>, RingStatus) {
        let mut unanswered = self.pending.iter().filter(|pending| pending.reply.is_none());
        (unanswered.next().map(|pending| pending.kind), self.ring.status())
    }

    /// Replies that have come.
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// Whether another request must wait until one is answered.
    pub fn is_full(&self) -> bool {
        self.unanswered() >= MAX_UNANSWERED
    }

    /// Whether something has happened since the last call that a conversation may wait for: a reply, or the end of a
    /// transaction.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.news)
    }

    /// Counts one more open transaction, if there may be one.
    pub fn open_transaction(&mut self) -> bool {
        let free = self.transactions < MAX_TRANSACTIONS;
        self.transactions += usize::from(free);
        free
    }

    /// Counts one less.
    pub fn close_transaction(&mut self) {
        let left = self.transactions.checked_sub(1).or_bug("no transaction that could be closed");
        self.transactions = left.unwrap_or(0);
        self.news = true;
    }

    /// Queues a request for the ring.
    pub fn send(
        &mut self,
        kind: MessageKind,
        transaction: TransactionId,
        parts: &[&[u8]],
    ) -> Result<Ticket, StoreError> {
        self.check()?;
        // Zero is what watch events carry.
        let request = RequestId(self.last_request.0.checked_add(1).unwrap_or(1));
        encode(&mut self.unsent, kind, request, transaction, parts)?;
        self.last_request = request;
        self.pending.push(Pending { request, kind, reply: None });
        self.flush();
        Ok(Ticket(request))
    }

    /// The reply to a request, once; `None` while it has not come.
    pub fn take(&mut self, ticket: Ticket) -> Option<Result<Vec<u8>, StoreError>> {
        let answered = |pending: &Pending| pending.request == ticket.0 && pending.reply.is_some();
        let index = self.pending.iter().position(answered)?;
        self.pending.swap_remove(index).reply
    }

    /// Gives up on a reply. The request may have been carried out, or may still be.
    pub fn forget(&mut self, ticket: Ticket) {
        self.pending.retain(|pending| pending.request != ticket.0);
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

    fn accept(&mut self, mut piece: &[u8]) -> Result<(), ProtocolViolation> {
        while let Some(message) = self.decoder.feed(&mut piece)? {
            if message.kind == MessageKind::WatchEvent {
                let (path, token) = event(&message.payload)?;
                self.events.push(path, token);
            } else {
                self.settle(message)?;
            }
        }
        Ok(())
    }

    /// Files a reply with its request. One that nobody waits for any more is dropped.
    fn settle(&mut self, message: Message) -> Result<(), ProtocolViolation> {
        self.replies += 1;
        self.news = true;
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.request == message.request) else {
            return Ok(());
        };
        pending.reply = Some(match message.kind {
            MessageKind::Error => Err(StoreError::from_reply(without_nul(&message.payload))),
            kind if kind == pending.kind => Ok(message.payload),
            came => return Err(ProtocolViolation::WrongReply { asked: pending.kind, came }),
        });
        Ok(())
    }
}

/// Path and token of a watch event, each ended by NUL.
fn event(payload: &[u8]) -> Result<(&str, &str), ProtocolViolation> {
    let mut parts = payload.split(|&byte| byte == 0);
    let mut next = || parts.next().and_then(|part| core::str::from_utf8(part).ok());
    match (next(), next(), next()) {
        (Some(path), Some(token), Some(_)) => Ok((path, token)),
        _ => Err(ProtocolViolation::MalformedPayload(MessageKind::WatchEvent)),
    }
}

/// The bytes before the final NUL, if there is one.
pub(super) fn without_nul(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\0").unwrap_or(payload)
}
