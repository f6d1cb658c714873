//! A peer's end of a shared ring, written anew after `xen/include/public/io/ring.h`: nothing is shared with
//! the kernel's.

use crate::sim::machine::Machine;
use crate::xen::host::{HostFrame, HostMemory};
use alloc::vec;
use alloc::vec::Vec;

/// Entries of a ring.
pub const SIZE: u32 = 256;

/// Offsets of the indices.
pub const REQ_PROD: usize = 0;
/// See [`REQ_PROD`].
pub const REQ_EVENT: usize = 4;
/// See [`REQ_PROD`].
pub const RSP_PROD: usize = 8;
/// See [`REQ_PROD`].
pub const RSP_EVENT: usize = 12;
const ENTRIES: usize = 64;

/// Which of the ring's two entry formats and directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingEnd {
    /// Makes requests, takes responses.
    Front,
    /// Takes requests, makes responses.
    Back,
}

/// One end of a ring.
#[derive(Clone, Debug)]
pub struct Ring {
    /// The shared page.
    pub frame: HostFrame,
    end: RingEnd,
    entry_bytes: usize,
    /// Entries made.
    pub produced: u32,
    /// Entries taken.
    pub consumed: u32,
    published: u32,
}

impl Ring {
    /// A frontend's new ring whose indices begin at `start`: event indices one ahead.
    pub fn create(memory: &HostMemory, frame: HostFrame, entry_bytes: usize, start: u32) -> Self {
        memory.fill(frame, 0, 4096, 0);
        memory.set_word(frame, REQ_PROD, start);
        memory.set_word(frame, RSP_PROD, start);
        memory.set_word(frame, REQ_EVENT, start.wrapping_add(1));
        memory.set_word(frame, RSP_EVENT, start.wrapping_add(1));
        Self { frame, end: RingEnd::Front, entry_bytes, produced: start, consumed: start, published: start }
    }

    /// A backend's end of a ring that is there.
    pub fn attach(memory: &HostMemory, frame: HostFrame, entry_bytes: usize) -> Self {
        let at = memory.word(frame, RSP_PROD);
        Self { frame, end: RingEnd::Back, entry_bytes, produced: at, consumed: at, published: at }
    }

    /// Producer and event index of what the other end makes.
    fn theirs(&self) -> (usize, usize) {
        if self.end == RingEnd::Front { (RSP_PROD, RSP_EVENT) } else { (REQ_PROD, REQ_EVENT) }
    }

    /// Producer and event index of what this end makes.
    fn ours(&self) -> (usize, usize) {
        if self.end == RingEnd::Front { (REQ_PROD, REQ_EVENT) } else { (RSP_PROD, RSP_EVENT) }
    }

    fn place(&self, index: u32) -> usize {
        ENTRIES + (index & (SIZE - 1)) as usize * self.entry_bytes
    }

    /// Requests a frontend can still make.
    pub fn room(&self) -> u32 {
        SIZE - self.produced.wrapping_sub(self.consumed)
    }

    /// Entries of the other end that wait. More than there can be is a violation.
    pub fn waiting(&self, machine: &mut Machine) -> u32 {
        let (producer, _) = self.theirs();
        let count = machine.memory.word(self.frame, producer).wrapping_sub(self.consumed);
        let most = if self.end == RingEnd::Front { self.produced.wrapping_sub(self.consumed) } else { SIZE };
        if count > most {
            machine.violate(
                "ring-index",
                alloc::format!("{count} entries are announced in a ring where {most} can be"),
            );
            return 0;
        }
        count
    }

    /// For a backend: responses that the frontend was not yet asked to look beyond. It looks beyond all when
    /// its event index is one ahead of the producer.
    pub fn untaken(&self, memory: &HostMemory) -> u32 {
        let event = memory.word(self.frame, RSP_EVENT);
        let ahead = self.published.wrapping_add(1).wrapping_sub(event);
        if ahead <= SIZE { ahead } else { 0 }
    }

    /// Takes an entry.
    pub fn take(&mut self, memory: &HostMemory) -> Vec<u8> {
        let mut entry = vec![0; self.entry_bytes];
        memory.read(self.frame, self.place(self.consumed), &mut entry);
        self.consumed = self.consumed.wrapping_add(1);
        entry
    }

    /// Writes an entry.
    pub fn put(&mut self, memory: &HostMemory, entry: &[u8]) {
        memory.write(self.frame, self.place(self.produced), entry);
        self.produced = self.produced.wrapping_add(1);
    }

    /// Makes entries visible; whether the other end wants to be told.
    pub fn publish(&mut self, memory: &HostMemory) -> bool {
        let (producer, event) = self.ours();
        let (old, new) = (self.published, self.produced);
        memory.set_word(self.frame, producer, new);
        self.published = new;
        let asked = memory.word(self.frame, event);
        new.wrapping_sub(asked) < new.wrapping_sub(old)
    }

    /// Asks to be told when there are `count` entries; whether there are already.
    pub fn arm(&self, machine: &mut Machine, count: u32) -> bool {
        let (_, event) = self.theirs();
        machine.memory.set_word(self.frame, event, self.consumed.wrapping_add(count));
        self.waiting(machine) >= count
    }
}
