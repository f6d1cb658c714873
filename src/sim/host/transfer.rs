//! Transfers over TCP: a header says how much content is to go each way; all of it is compared byte by byte.

use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::content;
use crate::xen::DomainId;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use smoltcp::socket::tcp;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferRequest {
    /// Names the content.
    pub key: u64,
    /// Bytes from the client.
    pub up: usize,
    /// Bytes to the client.
    pub down: usize,
}

impl TransferRequest {
    /// Bytes of a header.
    pub const BYTES: usize = 24;

    /// The header.
    pub fn header(self) -> Vec<u8> {
        let numbers = [self.key, self.up as u64, self.down as u64];
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// What a whole header says.
    pub fn read(header: &[u8]) -> Option<Self> {
        let numbers: &[u8; Self::BYTES] = header.first_chunk()?;
        let [key, up, down] = *numbers.as_chunks::<8>().0 else { return None };
        let [key, up, down] = [key, up, down].map(u64::from_le_bytes);
        Some(Self { key, up: up as usize, down: down as usize })
    }

    /// The content that comes from the client, and the content that goes to it.
    pub fn streams(self) -> [Stream; 2] {
        [
            Stream { key: self.key ^ 1, bytes: self.up, at: 0 },
            Stream { key: self.key, bytes: self.down, at: 0 },
        ]
    }
}

/// Content that goes one way, as far as it got.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    key: u64,
    bytes: usize,
    at: usize,
}

impl Stream {
    /// Bytes so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether everything was sent, or arrived.
    pub fn is_over(&self) -> bool {
        self.at >= self.bytes
    }

    /// Sends as much as the socket takes.
    pub fn send(&mut self, socket: &mut tcp::Socket<'_>) {
        while !self.is_over() && socket.can_send() {
            let Self { key, bytes, at } = *self;
            let sent = socket.send(|room| {
                let count = room.len().min(bytes - at);
                room[..count].copy_from_slice(&content(key, at, count));
                (count, count)
            });
            self.at += sent.unwrap_or(0);
        }
    }

    /// Takes bytes that arrived, and says whether they are what must come.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), String> {
        let at = self.at;
        self.at += bytes.len();
        if bytes != content(self.key, at, bytes.len()) {
            return Err(format!("changed at byte {at}"));
        }
        if self.at > self.bytes { Err("has too many bytes".into()) } else { Ok(()) }
    }
}

/// A client's side of one transfer.
#[derive(Debug)]
pub struct Exchange {
    client: DomainId,
    header: Vec<u8>,
    /// What it sends.
    pub up: Stream,
    /// What it receives.
    pub down: Stream,
}

impl Exchange {
    /// Nothing has gone either way.
    pub fn new(client: DomainId, request: TransferRequest) -> Self {
        let [up, down] = request.streams();
        Self { client, header: request.header(), up, down }
    }

    /// Whether everything has gone both ways.
    pub fn is_over(&self) -> bool {
        self.header.is_empty() && self.up.is_over() && self.down.is_over()
    }

    /// Sends and takes what the socket has room for and has.
    pub fn go_on(&mut self, socket: &mut tcp::Socket<'_>, ledger: &mut Ledger) {
        if !self.header.is_empty() && socket.can_send() {
            let sent = socket.send_slice(&self.header).unwrap_or(0);
            self.header.drain(..sent);
        }
        if self.header.is_empty() {
            self.up.send(socket);
        }
        while socket.can_recv() {
            let Ok(checked) = socket.recv(|bytes| (bytes.len(), self.down.check(bytes))) else { break };
            if let Err(what) = checked {
                ledger.complain("content", format!("transfer to {:?} {what}", self.client));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let request = TransferRequest { key: 7, up: 300, down: 1 << 40 };
        assert_eq!(TransferRequest::read(&request.header()), Some(request));
        assert_eq!(TransferRequest::read(&request.header()[1..]), None);
    }

    #[test]
    fn content_that_changed_or_is_too_much_is_found() {
        let [mut up, mut down] = TransferRequest { key: 7, up: 3, down: 3 }.streams();
        assert_eq!(up.check(&content(6, 0, 2)), Ok(()));
        assert_eq!(up.check(&content(6, 2, 2)), Err("has too many bytes".into()));
        assert_eq!(down.check(&content(6, 0, 2)), Err("changed at byte 0".into()));
    }
}
