//! What happened: a hash of everything, and on request the last events as text.

use crate::time::Moment;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;

/// Events kept as text.
const KEPT: usize = 20_000;

/// Whether events are kept as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// Only the hash.
    Off,
    /// The last events too.
    On,
}

/// The trace of a run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    recording: Recording,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty trace.
    pub fn new(recording: Recording) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, recording, lines: VecDeque::new() }
    }

    /// Notes an event: its numbers go into the hash, its text is made when text is kept.
    pub fn note(&mut self, now: Moment, numbers: &[u64], text: impl FnOnce() -> String) {
        self.events += 1;
        self.mix(now.as_nanoseconds());
        for &number in numbers {
            self.mix(number);
        }
        if self.recording == Recording::On {
            if self.lines.len() >= KEPT {
                self.lines.pop_front();
            }
            let nanoseconds = now.as_nanoseconds();
            let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
            self.lines.push_back(format!("{seconds:4}.{rest:09}  {}", text()));
        }
    }

    /// Takes bytes into the hash.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        }
        chunks.remainder().iter().for_each(|&byte| self.mix(u64::from(byte)));
    }

    fn mix(&mut self, number: u64) {
        let mixed = (self.hash ^ number).wrapping_mul(0x9fb2_1c65_1e98_df25);
        self.hash = mixed ^ (mixed >> 29);
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The events that were kept.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
