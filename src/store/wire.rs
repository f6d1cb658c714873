//! XenStore messages as bytes: requests out, replies and watch events in.
//!
//! A message is a header of four little-endian words (type, request, transaction, payload length) and at most
//! 4096 bytes of payload (`XENSTORE_PAYLOAD_MAX` of xs_wire.h). The [`Decoder`] takes bytes in whatever
//! pieces the ring holds, and keeps no more than one message.

use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::fmt;

/// Bytes of a message's header.
pub const HEADER_BYTES: usize = 16;

/// Bytes of payload that no message exceeds; xenstored drops a client that does.
pub const MAX_PAYLOAD_BYTES: usize = 4096;

/// What a message is (`xsd_sockmsg_type`), as far as a guest needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// The names of a node's children.
    Directory,
    /// A node's value.
    Read,
    /// Be told of changes at and below a node.
    Watch,
    /// Be told no more.
    Unwatch,
    /// Begin a transaction.
    TransactionStart,
    /// Commit or abandon a transaction.
    TransactionEnd,
    /// Create or change a node.
    Write,
    /// Create a node if it is not there.
    MakeDirectory,
    /// Remove a node and all below it.
    Remove,
    /// From xenstored: something changed at or below a watched node.
    WatchEvent,
    /// From xenstored: the request failed.
    Error,
    /// The names of a node's children from an offset on, for lists that exceed one payload.
    DirectoryPart,
}

impl MessageKind {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::Directory => 1,
            Self::Read => 2,
            Self::Watch => 4,
            Self::Unwatch => 5,
            Self::TransactionStart => 6,
            Self::TransactionEnd => 7,
            Self::Write => 11,
            Self::MakeDirectory => 12,
            Self::Remove => 13,
            Self::WatchEvent => 15,
            Self::Error => 16,
            Self::DirectoryPart => 22,
        }
    }

    /// The kind with that number on the wire.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Directory,
            2 => Self::Read,
            4 => Self::Watch,
            5 => Self::Unwatch,
            6 => Self::TransactionStart,
            7 => Self::TransactionEnd,
            11 => Self::Write,
            12 => Self::MakeDirectory,
            13 => Self::Remove,
            15 => Self::WatchEvent,
            16 => Self::Error,
            22 => Self::DirectoryPart,
            _ => return None,
        })
    }
}

/// Which request a reply belongs to. Watch events carry zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u32);

/// Which transaction a request is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionId(pub u32);

impl TransactionId {
    /// Outside of any transaction.
    pub const NONE: TransactionId = TransactionId(0);
}

/// A message from xenstored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: MessageKind,
    /// What it answers.
    pub request: RequestId,
    /// Its contents, at most [`MAX_PAYLOAD_BYTES`].
    pub payload: Vec<u8>,
}

/// Bytes from xenstored that make no sense. Nothing after them can be trusted to be where it seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolViolation {
    /// A header announces more payload than a message may have.
    PayloadTooLong(u32),
    /// A message of a kind that no guest receives.
    UnknownKind(u32),
    /// A reply of another kind than its request.
    WrongReply {
        /// What was asked.
        asked: MessageKind,
        /// What came.
        came: MessageKind,
    },
    /// A payload that is not made as its kind demands.
    MalformedPayload(MessageKind),
}

impl fmt::Display for ProtocolViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PayloadTooLong(bytes) => {
                write!(f, "a message of {bytes} bytes; expected at most {MAX_PAYLOAD_BYTES}")
            }
            Self::UnknownKind(number) => write!(f, "a message of unknown type {number}"),
            Self::WrongReply { asked, came } => write!(f, "{came:?} in reply to {asked:?}"),
            Self::MalformedPayload(kind) => write!(f, "a malformed payload of {kind:?}"),
        }
    }
}

/// A request that exceeds [`MAX_PAYLOAD_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Appends a request to `out`; its payload is the `parts`, one after the other.
///
/// # Errors
/// [`TooLong`], with nothing appended.
pub fn encode(
    out: &mut Vec<u8>,
    kind: MessageKind,
    request: RequestId,
    transaction: TransactionId,
    parts: &[&[u8]],
) -> Result<(), TooLong> {
    let length = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
    let length = u32::try_from(length).ok().filter(|&length| length as usize <= MAX_PAYLOAD_BYTES);
    let length = length.ok_or(TooLong)?;
    for word in [kind.number(), request.0, transaction.0, length] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// Puts messages together from pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    header: ArrayVec<u8, HEADER_BYTES>,
    payload: Vec<u8>,
}

impl Decoder {
    /// Takes bytes off the front of `chunk` until a message is complete or the chunk is empty.
    ///
    /// # Errors
    /// A [`ProtocolViolation`] is final: the place where the next message starts is lost.
    pub fn feed(&mut self, chunk: &mut &[u8]) -> Result<Option<Message>, ProtocolViolation> {
        let lacking = self.header.remaining_capacity();
        self.header.extend(take(chunk, lacking).iter().copied());
        let Some(&header) = self.header.as_slice().first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [kind, request, _transaction, length] = words(header);
        let kind = MessageKind::from_number(kind).ok_or(ProtocolViolation::UnknownKind(kind))?;
        let wanted = length as usize;
        if wanted > MAX_PAYLOAD_BYTES {
            return Err(ProtocolViolation::PayloadTooLong(length));
        }
        self.payload.extend_from_slice(take(chunk, wanted.saturating_sub(self.payload.len())));
        if self.payload.len() < wanted {
            return Ok(None);
        }
        self.header.clear();
        let payload = core::mem::take(&mut self.payload);
        Ok(Some(Message { kind, request: RequestId(request), payload }))
    }
}

/// Splits at most `count` bytes off the front.
fn take<'b>(chunk: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (front, rest) = chunk.split_at_checked(count).unwrap_or((chunk, &[]));
    *chunk = rest;
    front
}

/// The four little-endian words of a header.
fn words(header: [u8; HEADER_BYTES]) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = header;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]].map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: MessageKind, request: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, kind, RequestId(request), TransactionId(7), &[payload]).unwrap();
        bytes
    }

    #[test]
    fn a_request_is_four_little_endian_words_and_its_parts() {
        let mut bytes = Vec::new();
        let parts: [&[u8]; 3] = [b"a/b", b"\0", b"value"];
        encode(&mut bytes, MessageKind::Write, RequestId(0x0102), TransactionId(3), &parts).unwrap();
        assert_eq!(&bytes[..16], [11, 0, 0, 0, 2, 1, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(&bytes[16..], b"a/b\0value");
    }

    #[test]
    fn a_request_above_the_limit_is_not_encoded() {
        let mut bytes = Vec::new();
        let (request, none) = (RequestId(1), TransactionId::NONE);
        assert_eq!(encode(&mut bytes, MessageKind::Write, request, none, &[&[0; 4096], &[0]]), Err(TooLong));
        assert!(bytes.is_empty());
        assert_eq!(encode(&mut bytes, MessageKind::Write, request, none, &[&[0; 4096]]), Ok(()));
    }

    #[test]
    fn kinds_and_their_numbers_agree() {
        let known: Vec<u32> =
            (0..64).filter(|&n| MessageKind::from_number(n).is_some_and(|k| k.number() == n)).collect();
        assert_eq!(known, [1, 2, 4, 5, 6, 7, 11, 12, 13, 15, 16, 22]);
        assert!((0..64).filter(|&n| MessageKind::from_number(n).is_some()).eq(known));
    }

    #[test]
    fn too_long_a_payload_is_a_violation_before_any_of_it_is_kept() {
        let mut header = message(MessageKind::Read, 1, b"");
        header[12..].copy_from_slice(&4097u32.to_le_bytes());
        assert_eq!(Decoder::default().feed(&mut &header[..]), Err(ProtocolViolation::PayloadTooLong(4097)));
    }

    #[test]
    fn an_unknown_kind_is_a_violation() {
        let mut bytes = message(MessageKind::Read, 1, b"");
        bytes[0] = 99;
        assert_eq!(Decoder::default().feed(&mut &bytes[..]), Err(ProtocolViolation::UnknownKind(99)));
    }

    proptest! {
        #[test]
        fn messages_survive_any_fragmentation(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10),
            cuts in prop::collection::vec(1usize..40, 1..20),
        ) {
            let stream: Vec<u8> = payloads.iter().zip(1..)
                .flat_map(|(payload, request)| message(MessageKind::Read, request, payload))
                .collect();
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                let (mut piece, after) = rest.split_at(rest.len().min(*cut));
                while let Some(message) = decoder.feed(&mut piece).unwrap() {
                    found.push(message.payload);
                }
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, payloads);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut decoder = Decoder::default();
            let mut rest = &bytes[..];
            while let Ok(Some(_)) = decoder.feed(&mut rest) {}
        }
    }
}
