//! What happened: a hash of everything, and on request the last events as text.

use crate::base::time::Moment;
use crate::xen::DomainId;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

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
    frames: VecDeque<(Moment, DomainId, Vec<u8>)>,
}

impl Trace {
    /// An empty trace.
    pub fn new(recording: Recording) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            recording,
            lines: VecDeque::new(),
            frames: VecDeque::new(),
        }
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

    /// Notes a frame at a domain's ring.
    pub fn frame(&mut self, now: Moment, domain: DomainId, frame: &[u8]) {
        self.bytes(frame);
        if self.recording == Recording::On {
            if self.frames.len() >= KEPT {
                self.frames.pop_front();
            }
            self.frames.push_back((now, domain, frame.to_vec()));
        }
    }

    /// The frames that were kept, as one capture file (pcap, nanoseconds) per domain.
    pub fn captures(&self) -> BTreeMap<DomainId, Vec<u8>> {
        let mut files = BTreeMap::new();
        for (at, domain, frame) in &self.frames {
            let file: &mut Vec<u8> = files.entry(*domain).or_insert_with(|| {
                // Magic of nanosecond captures, version 2.4, UTC, 64 KiB at most, Ethernet.
                [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, 65_536, 1u32]
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .collect()
            });
            let (nanoseconds, bytes) = (at.as_nanoseconds(), frame.len() as u32);
            let header =
                [(nanoseconds / 1_000_000_000) as u32, (nanoseconds % 1_000_000_000) as u32, bytes, bytes];
            file.extend(header.iter().flat_map(|word| word.to_le_bytes()));
            file.extend(frame);
        }
        files
    }

    /// Takes bytes into the hash.
    fn bytes(&mut self, bytes: &[u8]) {
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
