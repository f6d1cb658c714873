//! What client hosts do: ping, exchange datagrams, transfer bulk data; everything that comes back is checked.

use crate::base::time::Moment;
use crate::sim::host::transfer::{Exchange, TransferRequest};
use crate::sim::oracle::ledger::{ClientService, Ledger};
use crate::sim::prng::{Prng, content};
use crate::xen::DomainId;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{icmp, tcp, udp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpEndpoint};

/// An application of a host.
pub trait App {
    /// Does what is due; when it is to be called again.
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        interface: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        prng: &mut Prng,
    ) -> Option<Moment>;
}

/// What an application's pace is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two requests, on average.
    pub every: Duration,
    /// After this moment no new request is made.
    pub until: Moment,
}

impl Pace {
    pub(in crate::sim) fn next(self, now: Moment, prng: &mut Prng) -> Moment {
        let mean = self.every.as_nanos() as u64;
        now + Duration::from_nanos(prng.between(mean / 2, mean + mean / 2))
    }
}

/// Sends datagrams to an echo server and checks what comes back.
pub struct Datagrams {
    client: DomainId,
    socket: SocketHandle,
    server: IpEndpoint,
    pace: Pace,
    largest: usize,
    next: Moment,
    sequence: u64,
    key: u64,
}

impl Datagrams {
    /// Datagrams of at most `largest` bytes.
    pub fn start(
        client: DomainId,
        server: (Ipv4Addr, u16),
        pace: Pace,
        largest: usize,
        prng: &mut Prng,
        sockets: &mut SocketSet<'static>,
    ) -> Box<dyn App> {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 1 << 16]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(prng.between(2000, 20_000) as u16).expect("an unbound socket");
        let socket = sockets.add(socket);
        let (next, key) = (Moment::default(), prng.bits());
        Box::new(Self { client, socket, server: server.into(), pace, largest, next, sequence: 0, key })
    }
}

impl App for Datagrams {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        _: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        prng: &mut Prng,
    ) -> Option<Moment> {
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.socket);
        while let Ok((data, _)) = socket.recv() {
            let sequence = data.first_chunk().map_or(u64::MAX, |first| u64::from_le_bytes(*first));
            let rest = data.get(8..).unwrap_or_default();
            if sequence >= self.sequence || rest != content(self.key ^ sequence, 0, rest.len()) {
                ledger.complain(
                    "content",
                    format!("datagram {sequence} came back to {:?} changed", self.client),
                );
            }
            ledger.answered(self.client, ClientService::Datagram);
        }
        if now >= self.pace.until {
            return None;
        }
        if now >= self.next {
            let bytes = prng.between(0, self.largest as u64) as usize;
            let mut data = self.sequence.to_le_bytes().to_vec();
            data.extend(content(self.key ^ self.sequence, 0, bytes));
            if socket.send_slice(&data, self.server).is_ok() {
                self.sequence += 1;
                ledger.asked(self.client, ClientService::Datagram);
            }
            self.next = self.pace.next(now, prng);
        }
        Some(self.next)
    }
}

/// Sends datagrams anywhere, most of them where the rules refuse it: nothing is to come back.
pub struct Probes {
    client: DomainId,
    socket: SocketHandle,
    host: Ipv4Addr,
    pace: Pace,
    next: Moment,
}

impl Probes {
    /// Tries ports of `host`.
    pub fn start(
        client: DomainId,
        host: Ipv4Addr,
        pace: Pace,
        prng: &mut Prng,
        sockets: &mut SocketSet<'static>,
    ) -> Box<dyn App> {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 4096]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(prng.between(20_001, 40_000) as u16).expect("an unbound socket");
        Box::new(Self { client, socket: sockets.add(socket), host, pace, next: Moment::default() })
    }
}

impl App for Probes {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        _: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        prng: &mut Prng,
    ) -> Option<Moment> {
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.socket);
        if socket.recv().is_ok() {
            ledger.complain("model", format!("{:?} got an answer that is refused", self.client));
        }
        if now >= self.pace.until {
            return None;
        }
        if now >= self.next {
            let port = prng.between(1, 65_535) as u16;
            let _ = socket.send_slice(&port.to_le_bytes(), (self.host, port));
            self.next = self.pace.next(now, prng);
        }
        Some(self.next)
    }
}

/// Pings a host and checks the replies.
pub struct Pings {
    client: DomainId,
    socket: SocketHandle,
    target: Ipv4Addr,
    pace: Pace,
    next: Moment,
    ident: u16,
    sequence: u16,
}

impl Pings {
    /// Pings `target`.
    pub fn start(
        client: DomainId,
        target: Ipv4Addr,
        pace: Pace,
        prng: &mut Prng,
        sockets: &mut SocketSet<'static>,
    ) -> Box<dyn App> {
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 16], vec![0; 16_384]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        let ident = prng.bits() as u16;
        socket.bind(icmp::Endpoint::Ident(ident)).expect("an unbound socket");
        let socket = sockets.add(socket);
        Box::new(Self { client, socket, target, pace, next: Moment::default(), ident, sequence: 0 })
    }
}

impl App for Pings {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        _: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        prng: &mut Prng,
    ) -> Option<Moment> {
        let checksums = ChecksumCapabilities::default();
        let socket = sockets.get_mut::<icmp::Socket<'_>>(self.socket);
        while let Ok((bytes, _)) = socket.recv() {
            let packet = Icmpv4Packet::new_unchecked(bytes);
            if let Ok(Icmpv4Repr::EchoReply { ident, seq_no, data }) = Icmpv4Repr::parse(&packet, &checksums)
            {
                if ident != self.ident || data != content(u64::from(seq_no), 0, data.len()) {
                    ledger
                        .complain("content", format!("ping {seq_no} came back to {:?} changed", self.client));
                }
                ledger.answered(self.client, ClientService::Ping);
            }
        }
        if now >= self.pace.until {
            return None;
        }
        if now >= self.next {
            let data = content(u64::from(self.sequence), 0, prng.between(0, 1400) as usize);
            let echo = Icmpv4Repr::EchoRequest { ident: self.ident, seq_no: self.sequence, data: &data };
            if let Ok(buffer) = socket.send(echo.buffer_len(), self.target.into()) {
                echo.emit(&mut Icmpv4Packet::new_unchecked(buffer), &checksums);
                self.sequence = self.sequence.wrapping_add(1);
                ledger.asked(self.client, ClientService::Ping);
            }
            self.next = self.pace.next(now, prng);
        }
        Some(self.next)
    }
}

/// Transfers bulk data up and down over TCP, one connection after the other.
pub struct Transfers {
    client: DomainId,
    socket: SocketHandle,
    server: IpEndpoint,
    pace: Pace,
    largest: u64,
    next: Moment,
    port: u16,
    current: Option<Transfer>,
}

struct Transfer {
    exchange: Exchange,
    begun: Moment,
}

impl Transfers {
    /// Transfers of at most `largest` bytes either way.
    pub fn start(
        client: DomainId,
        server: (Ipv4Addr, u16),
        pace: Pace,
        largest: u64,
        prng: &mut Prng,
        sockets: &mut SocketSet<'static>,
    ) -> Box<dyn App> {
        let buffer = || tcp::SocketBuffer::new(vec![0; 32 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_timeout(Some(smoltcp::time::Duration::from_secs(20)));
        let socket = sockets.add(socket);
        let (next, port) = (Moment::default(), prng.between(20_000, 50_000) as u16);
        Box::new(Self { client, socket, server: server.into(), pace, largest, next, port, current: None })
    }

    fn begin(&mut self, now: Moment, prng: &mut Prng) -> Transfer {
        let (key, up) = (prng.bits(), prng.below(self.largest) as usize);
        let request = TransferRequest { key, up, down: prng.below(self.largest) as usize };
        Transfer { exchange: Exchange::new(self.client, request), begun: now }
    }
}

impl App for Transfers {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        interface: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        prng: &mut Prng,
    ) -> Option<Moment> {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        let Some(transfer) = &mut self.current else {
            if now >= self.pace.until {
                return None;
            }
            if now >= self.next && socket.state() == tcp::State::Closed {
                self.port = if self.port >= 60_000 { 20_000 } else { self.port + 1 };
                let transfer = self.begin(now, prng);
                let socket = sockets.get_mut::<tcp::Socket<'_>>(self.socket);
                if socket.connect(interface.context(), self.server, self.port).is_ok() {
                    ledger.asked(self.client, ClientService::Transfer);
                    self.current = Some(transfer);
                }
                self.next = self.pace.next(now, prng);
            }
            return Some(self.next.max(now + Duration::from_millis(1)));
        };
        let Transfer { exchange, begun } = transfer;
        exchange.go_on(socket, ledger);
        if exchange.is_over() && !socket.may_recv() && socket.state() != tcp::State::SynSent {
            ledger.answered(self.client, ClientService::Transfer);
            ledger.carried(self.client, TransferRequest::BYTES + exchange.up.at() + exchange.down.at());
            ledger.took(now.since(*begun));
            self.current = None;
            socket.close();
            // Its last state is of no use to us.
            socket.abort();
        } else if !socket.is_open() {
            ledger.failed(self.client, ClientService::Transfer);
            self.current = None;
        }
        Some(self.next.max(now + Duration::from_millis(5)))
    }
}
