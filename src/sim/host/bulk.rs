//! One TCP connection over which bulk data goes one way for as long as there is time.

use crate::base::time::Moment;
use crate::sim::host::apps::App;
use crate::sim::host::server::TRANSFER;
use crate::sim::host::transfer::{Exchange, TransferRequest};
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use crate::xen::DomainId;
use alloc::boxed::Box;
use alloc::vec;
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

/// More bytes than are ever transferred.
const ALL: usize = 1 << 40;

/// A client of the transfer server that asks for more than there is time for.
pub struct Bulk {
    client: DomainId,
    socket: SocketHandle,
    server: Ipv4Addr,
    way: Way,
    from: Moment,
    port: u16,
    exchange: Exchange,
    /// Bytes that arrived, as far as they are in the ledger.
    counted: usize,
}

impl Bulk {
    /// Transfers from that moment on; content that arrived counts as carried.
    pub fn start(
        client: DomainId,
        server: Ipv4Addr,
        way: Way,
        from: Moment,
        prng: &mut Prng,
        sockets: &mut SocketSet<'static>,
    ) -> Box<dyn App> {
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
        let socket = sockets.add(tcp::Socket::new(buffer(), buffer()));
        let key = prng.bits();
        let (up, down) = if way == Way::Up { (ALL, 0) } else { (0, ALL) };
        let exchange = Exchange::new(client, TransferRequest { key, up, down });
        let port = 20_000 + (key % 20_000) as u16;
        Box::new(Self { client, socket, server, way, from, port, exchange, counted: 0 })
    }
}

impl App for Bulk {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        interface: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        _: &mut Prng,
    ) -> Option<Moment> {
        if now < self.from {
            return Some(self.from);
        }
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        if !socket.is_open() {
            let _ = socket.connect(interface.context(), (self.server, TRANSFER), self.port);
        }
        self.exchange.go_on(socket, ledger);
        let arrived = match self.way {
            Way::Up => self.exchange.up.at().saturating_sub(socket.send_queue()),
            Way::Down => self.exchange.down.at(),
        };
        ledger.carried(self.client, arrived.saturating_sub(self.counted));
        self.counted = self.counted.max(arrived);
        Some(now + Duration::from_millis(5))
    }
}
