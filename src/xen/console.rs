//! The console ring: text to the toolstack, never waiting for it.
//!
//! A line that does not fit is dropped whole and counted; the next line that fits is preceded by the count.

use super::abi::console::{OUT, OUT_BYTES, OUT_CONS, OUT_PROD};
use super::page::SharedPage;
use core::fmt::{self, Write};

/// Longest line, in bytes; what is beyond is cut.
const LINE_BYTES: usize = 512;

/// Whether the reader should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Bytes are in the ring: notify the console's event channel.
    Notify,
    /// The line was dropped.
    Dropped,
}

/// The writing end of the console ring.
#[derive(Debug)]
pub struct Console {
    ring: SharedPage,
    dropped: u64,
}

impl Console {
    /// Writes into the console page that the toolstack set up.
    pub fn new(ring: SharedPage) -> Self {
        Self { ring, dropped: 0 }
    }

    /// Writes one line; a line feed is added.
    pub fn line(&mut self, text: fmt::Arguments<'_>) -> Written {
        let mut line = ConsoleLine::default();
        // Only a formatting impl that fails by itself returns an error here; what it wrote is kept.
        let _ = line.write_fmt(text);
        let mut notice = ConsoleLine::default();
        if self.dropped > 0 {
            let _ = write!(notice, "[{} lines dropped: the console was full]", self.dropped);
        }
        let wanted = line.terminated().len() + if self.dropped > 0 { notice.terminated().len() } else { 0 };
        if wanted > self.room() {
            self.dropped += 1;
            return Written::Dropped;
        }
        if self.dropped > 0 {
            self.append(notice.terminated());
            self.dropped = 0;
        }
        self.append(line.terminated());
        Written::Notify
    }

    /// Bytes free in the ring. A consumer index that makes no sense counts as a full ring.
    fn room(&self) -> usize {
        // Acquire: what we overwrite was read by the peer before it moved its index.
        let used = self.ring.load(OUT_PROD).wrapping_sub(self.ring.load_acquire(OUT_CONS));
        OUT_BYTES.saturating_sub(used) as usize
    }

    fn append(&mut self, bytes: &[u8]) {
        let mut index = self.ring.load(OUT_PROD);
        for &byte in bytes {
            self.ring.store_byte(OUT + (index % OUT_BYTES) as usize, byte);
            index = index.wrapping_add(1);
        }
        self.ring.store_release(OUT_PROD, index);
    }
}

/// A line being formatted: bounded, without allocation, so that a panic can use it too.
struct ConsoleLine {
    bytes: [u8; LINE_BYTES + 2],
    used: usize,
}

impl Default for ConsoleLine {
    fn default() -> Self {
        Self { bytes: [0; LINE_BYTES + 2], used: 0 }
    }
}

impl ConsoleLine {
    /// The text with CR LF behind it (the reader is a terminal).
    fn terminated(&mut self) -> &[u8] {
        let end = self.used + 2;
        if let Some(tail) = self.bytes.get_mut(self.used..end) {
            tail.copy_from_slice(b"\r\n");
        }
        self.bytes.get(..end).unwrap_or_default()
    }
}

impl Write for ConsoleLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes().take(LINE_BYTES - self.used) {
            // Text may quote what a peer said: nothing but printable characters reaches the terminal.
            self.bytes[self.used] = if byte == b'\t' || (b' '..=b'~').contains(&byte) { byte } else { b'?' };
            self.used += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::on_heap;
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn read(peer: &SharedPage) -> String {
        let mut text = Vec::new();
        let (mut cons, prod) = (peer.load(OUT_CONS), peer.load(OUT_PROD));
        while cons != prod {
            text.push(peer.load_byte(OUT + (cons % OUT_BYTES) as usize));
            cons = cons.wrapping_add(1);
        }
        peer.store(OUT_CONS, cons);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_arrive_across_the_index_wrap() {
        let page = on_heap::shared_page();
        let peer = on_heap::alias(&page);
        peer.store(OUT_PROD, u32::MAX - 3);
        peer.store(OUT_CONS, u32::MAX - 3);
        let mut console = Console::new(page);
        assert_eq!(console.line(format_args!("hello {}", 7)), Written::Notify);
        assert_eq!(read(&peer), "hello 7\r\n");
    }

    #[test]
    fn full_ring_drops_whole_lines_and_says_how_many() {
        let page = on_heap::shared_page();
        let peer = on_heap::alias(&page);
        let mut console = Console::new(page);
        let text = "x".repeat(498);
        for _ in 0..4 {
            assert_eq!(console.line(format_args!("{text}")), Written::Notify);
        }
        assert_eq!(console.line(format_args!("{text}")), Written::Dropped);
        assert_eq!(console.line(format_args!("{text}")), Written::Dropped);
        read(&peer);
        assert_eq!(console.line(format_args!("after")), Written::Notify);
        assert_eq!(read(&peer), "[2 lines dropped: the console was full]\r\nafter\r\n");
    }

    #[test]
    fn nonsense_consumer_index_counts_as_full() {
        let page = on_heap::shared_page();
        let peer = on_heap::alias(&page);
        peer.store(OUT_CONS, 77);
        assert_eq!(Console::new(page).line(format_args!("x")), Written::Dropped);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let page = on_heap::shared_page();
        let peer = on_heap::alias(&page);
        Console::new(page).line(format_args!("a\x1b[31m\nb"));
        assert_eq!(read(&peer), "a?[31m?b\r\n");
    }
}
