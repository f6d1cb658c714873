//! What waits to be sent to the daemon, message by message, and never more than a bound.

use super::message::{HEADER_BYTES, MAX_VALUE, MessageType, header};
use alloc::vec::Vec;

/// Answers wait up to so many bytes, beside one message of any length.
const MAX_ANSWERS: usize = 4096;

/// Messages in the order in which they are to be sent.
#[derive(Debug, Default)]
pub struct SendQueue {
    bytes: Vec<u8>,
    /// How many bytes of the first message are left.
    first: usize,
}

impl SendQueue {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.first = 0;
    }

    /// Queues a message. Its path is a sound one.
    pub fn push(&mut self, kind: MessageType, path: &str, value: &str) {
        debug_assert!(value.len() <= MAX_VALUE);
        if self.first == 0 {
            self.first = HEADER_BYTES + value.len();
        }
        self.bytes.extend_from_slice(&header(kind, path, value.len()));
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// Whether one more answer may wait.
    pub fn has_room(&self) -> bool {
        self.bytes.len() + HEADER_BYTES <= MAX_ANSWERS
    }

    /// What is left of the first message.
    pub fn first(&self) -> &[u8] {
        self.bytes.get(..self.first).unwrap_or_default()
    }

    /// So many bytes of that are sent.
    pub fn sent(&mut self, count: usize) {
        let count = count.min(self.first);
        self.bytes.drain(..count);
        self.first -= count;
        if self.first == 0 && !self.bytes.is_empty() {
            let length = self.bytes.get(HEADER_BYTES - 4..).and_then(|bytes| bytes.first_chunk());
            self.first = HEADER_BYTES + u32::from_le_bytes(length.copied().unwrap_or_default()) as usize;
        }
    }
}
