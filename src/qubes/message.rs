//! The messages of QubesDB, as they are on the wire: a header of 72 bytes, and a value.
//!
//! Layout (`struct qdb_hdr` of `include/qubesdb.h`): type u8 at 0, path of 64 bytes at 1, three bytes of padding, length of
//! the value u32 at 68, little-endian. What stands behind a path's NUL and in the padding means nothing. Header and value
//! come in separate writes, and each over as many turns of the ring as it takes.

use super::fault::ProtocolFault;
use super::path::{MAX_PATH, is_sound};
use alloc::vec::Vec;

/// The bytes of a header.
pub const HEADER_BYTES: usize = 72;

/// The longest value. The daemon takes one of 3072 bytes for an attack.
pub const MAX_VALUE: usize = 3071;

/// Where the path is in a header; the byte behind its longest form is always NUL.
const PATH: core::ops::Range<usize> = 1..1 + MAX_PATH;

/// Where the length of the value is in a header.
const LENGTH: core::ops::Range<usize> = 68..72;

/// What a message is, of the types that are allowed on a vchan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageType {
    /// An entry gets a value.
    Write = 1,
    /// The whole database is asked for.
    MultiRead = 2,
    /// An entry, or all below a path that ends with a slash, is taken out.
    Remove = 4,
    /// A request was carried out.
    Ok = 7,
    /// A request was refused.
    Error = 9,
    /// An entry of the database that was asked for, or with an empty path the end of it.
    Entry = 11,
}

impl MessageType {
    /// Those that the daemon sends. It answers NOENT (8) to a request of ours only just before it ends.
    fn of(byte: u8) -> Option<Self> {
        [Self::Write, Self::Remove, Self::Ok, Self::Error, Self::Entry]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A message that the daemon sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseMessage<'m> {
    /// What it is.
    pub kind: MessageType,
    /// The entry; at most 63 characters, each of them one that a path may have.
    pub path: &'m str,
    /// The value: any bytes.
    pub value: &'m [u8],
}

/// The header of a message. The path has 63 bytes at most.
pub fn header(kind: MessageType, path: &str, value_bytes: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0] = kind as u8;
    for (byte, character) in header[PATH].iter_mut().zip(path.bytes()) {
        *byte = character;
    }
    header[LENGTH].copy_from_slice(&(value_bytes as u32).to_le_bytes());
    header
}

/// Puts messages together from the bytes that come.
#[derive(Debug)]
pub struct MessageReader {
    /// What there is of the message that comes.
    bytes: Vec<u8>,
    /// How many bytes it has, once its header is there.
    whole: Option<usize>,
}

impl MessageReader {
    /// Nothing has come.
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(HEADER_BYTES + MAX_VALUE), whole: None }
    }

    /// Forgets a message of which only a part has come.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.whole = None;
    }

    /// Takes bytes up to the end of a message: how many, and the message if that is where it ends.
    ///
    /// # Errors
    /// Why it is none.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<DatabaseMessage<'_>>), ProtocolFault> {
        if self.whole == Some(self.bytes.len()) {
            self.clear();
        }
        let mut taken = self.fill(HEADER_BYTES, bytes);
        if self.whole.is_none() && self.bytes.len() == HEADER_BYTES {
            self.whole = Some(whole(&self.bytes)?);
        }
        let Some(whole) = self.whole else {
            return Ok((taken, None));
        };
        taken += self.fill(whole, bytes.get(taken..).unwrap_or_default());
        if self.bytes.len() < whole {
            return Ok((taken, None));
        }
        Ok((taken, Some(message(&self.bytes)?)))
    }

    /// Takes bytes until there are `end`.
    fn fill(&mut self, end: usize, bytes: &[u8]) -> usize {
        let count = end.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..count).unwrap_or_default());
        count
    }
}

/// How many bytes a message has.
fn whole(header: &[u8]) -> Result<usize, ProtocolFault> {
    let length = header.get(LENGTH).and_then(|bytes| bytes.first_chunk());
    let length = u32::from_le_bytes(length.copied().unwrap_or_default());
    match usize::try_from(length) {
        Ok(value_bytes) if value_bytes <= MAX_VALUE => Ok(HEADER_BYTES + value_bytes),
        _ => Err(ProtocolFault::Length(length)),
    }
}

fn message(bytes: &[u8]) -> Result<DatabaseMessage<'_>, ProtocolFault> {
    let kind = bytes.first().copied().unwrap_or_default();
    let kind = MessageType::of(kind).ok_or(ProtocolFault::Type(kind))?;
    let path = bytes.get(PATH.start..=PATH.end).unwrap_or_default();
    let end = path.iter().position(|&byte| byte == 0).ok_or(ProtocolFault::Path)?;
    let path = path.get(..end).and_then(|path| core::str::from_utf8(path).ok()).ok_or(ProtocolFault::Path)?;
    if !is_sound(path) {
        return Err(ProtocolFault::Path);
    }
    Ok(DatabaseMessage { kind, path, value: bytes.get(HEADER_BYTES..).unwrap_or_default() })
}
