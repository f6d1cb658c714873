//! One TCP connection over which bulk data goes one way for as long as there is time.

use super::apps::App;
use super::server::TRANSFER;
use crate::sim::dice::{Dice, content};
use crate::sim::ledger::Ledger;
use crate::time::Moment;
use crate::xen::DomainId;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;

/// Which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// More than is ever transferred.
const ALL: u64 = 1 << 40;

/// A client of the transfer server that asks for more than there is time for.
pub struct Bulk {
    client: DomainId,
    socket: SocketHandle,
    server: Ipv4Addr,
    way: Way,
    from: Moment,
    key: u64,
    header: Vec<u8>,
    sent: usize,
    received: usize,
    /// Bytes that arrived, as far as they are in the ledger.
    counted: usize,
}

impl Bulk {
    /// Transfers from that moment on; content that arrived is booked as carried.
    pub fn start(
        client: DomainId,
        server: Ipv4Addr,
        way: Way,
        from: Moment,
        dice: &mut Dice,
        sockets: &mut SocketSet<'static>,
    ) -> Box<dyn App> {
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
        let socket = sockets.add(tcp::Socket::new(buffer(), buffer()));
        let key = dice.bits();
        let (up, down) = if way == Way::Up { (ALL, 0) } else { (0, ALL) };
        let header = [key, up, down].iter().flat_map(|number| number.to_le_bytes()).collect();
        Box::new(Self { client, socket, server, way, from, key, header, sent: 0, received: 0, counted: 0 })
    }
}

impl App for Bulk {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        interface: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        _: &mut Dice,
    ) -> Option<Moment> {
        if now < self.from {
            return Some(self.from);
        }
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        if !socket.is_open() {
            let port = 20_000 + (self.key % 20_000) as u16;
            let _ = socket.connect(interface.context(), (self.server, TRANSFER), port);
        }
        if !self.header.is_empty() && socket.can_send() {
            let taken = socket.send_slice(&self.header).unwrap_or(0);
            self.header.drain(..taken);
        }
        while self.way == Way::Up && self.header.is_empty() && socket.can_send() {
            let bytes = content(self.key ^ 1, self.sent, 4096);
            match socket.send_slice(&bytes) {
                Ok(taken) if taken > 0 => self.sent += taken,
                _ => break,
            }
        }
        while socket.can_recv() {
            let (key, at) = (self.key, self.received);
            let taken =
                socket.recv(|bytes| (bytes.len(), (bytes.len(), bytes == content(key, at, bytes.len()))));
            let Ok((count, same)) = taken else { break };
            self.received += count;
            if !same {
                ledger.complain("content", format!("bulk data to {:?} changed at byte {at}", self.client));
            }
        }
        let arrived = match self.way {
            Way::Up => self.sent.saturating_sub(socket.send_queue()),
            Way::Down => self.received,
        };
        ledger.carried(self.client, arrived.saturating_sub(self.counted));
        self.counted = self.counted.max(arrived);
        Some(now + Duration::from_millis(5))
    }
}
