//! A web-like server and a client that reads pages from it: requests and responses with think time between
//! them, several on one TCP connection, some sent before the last was answered.

use crate::base::time::Moment;
use crate::sim::host::apps::{App, Pace};
use crate::sim::oracle::ledger::{ClientService, Ledger};
use crate::sim::prng::{Prng, content};
use crate::xen::DomainId;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::wire::IpEndpoint;

/// Port of the web server.
pub const WEB: u16 = 8080;
/// Connections that can wait or be served at once.
const CONNECTIONS: usize = 32;
/// The server thinks for at most so long before it answers.
const THOUGHT: Duration = Duration::from_millis(120);
/// Neither side waits longer for the other.
const PATIENCE: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(20);

fn socket(sockets: &mut SocketSet<'static>) -> SocketHandle {
    let buffer = || tcp::SocketBuffer::new(vec![0; 16 << 10]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_timeout(Some(PATIENCE));
    sockets.add(socket)
}

/// The first whole line block that ends with an empty line, taken out of `bytes`.
fn take_head(bytes: &mut Vec<u8>) -> Option<String> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head: Vec<u8> = bytes.drain(..end).collect();
    Some(String::from_utf8_lossy(&head).into_owned())
}

fn page(key: u64, length: usize) -> Vec<u8> {
    let mut page = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    page.extend(content(key, 0, length));
    page
}

fn request(key: u64, length: usize) -> Vec<u8> {
    format!("GET /{key}/{length} HTTP/1.1\r\nHost: server\r\n\r\n").into_bytes()
}

/// Key and length that a request names.
fn named(head: &str) -> Option<(u64, usize)> {
    let (key, length) = head.strip_prefix("GET /")?.split(' ').next()?.split_once('/')?;
    Some((key.parse().ok()?, length.parse().ok()?))
}

#[derive(Default)]
struct Visit {
    asked: Vec<u8>,
    /// Pages thought of, and when each is ready.
    pages: VecDeque<(Moment, Vec<u8>)>,
}

/// Serves pages.
pub struct WebServer {
    visits: Vec<(SocketHandle, Visit)>,
}

impl WebServer {
    /// Listens on [`WEB`].
    pub fn start(sockets: &mut SocketSet<'static>) -> Box<dyn App> {
        let visits = (0..CONNECTIONS).map(|_| (socket(sockets), Visit::default())).collect();
        Box::new(Self { visits })
    }
}

impl App for WebServer {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        _: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        prng: &mut Prng,
    ) -> Option<Moment> {
        let mut next = None;
        for (handle, visit) in &mut self.visits {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(*handle);
            if !socket.is_open() {
                *visit = Visit::default();
                let _ = socket.listen(WEB);
                continue;
            }
            while socket.can_recv() {
                let Ok(bytes) = socket.recv(|bytes| (bytes.len(), bytes.to_vec())) else { break };
                visit.asked.extend(bytes);
            }
            while let Some(head) = take_head(&mut visit.asked) {
                let Some((key, length)) = named(&head) else {
                    ledger.complain("content", format!("the web server is asked {head:?}"));
                    continue;
                };
                let thought = Duration::from_nanos(prng.below(THOUGHT.as_nanos() as u64));
                visit.pages.push_back((now + thought, page(key, length)));
            }
            while let Some((ready, bytes)) = visit.pages.front_mut().filter(|_| socket.can_send()) {
                if *ready > now {
                    next = next.into_iter().chain([*ready]).min();
                    break;
                }
                let sent = socket.send_slice(bytes).unwrap_or(0);
                bytes.drain(..sent);
                if bytes.is_empty() {
                    visit.pages.pop_front();
                } else if sent == 0 {
                    break;
                }
            }
            if visit.pages.is_empty() && !socket.may_recv() && socket.state() == tcp::State::CloseWait {
                socket.close();
            }
        }
        next
    }
}

/// Reads pages.
pub struct Browser {
    client: DomainId,
    socket: SocketHandle,
    server: IpEndpoint,
    pace: Pace,
    largest: u64,
    port: u16,
    next: Moment,
    /// Requests that this connection will still make.
    left: u64,
    /// Pages asked for, as they must come, and not read to their end.
    awaited: VecDeque<Vec<u8>>,
    /// Bytes read of the first of them.
    read: usize,
    sending: Vec<u8>,
}

impl Browser {
    /// Reads pages of at most `largest` bytes.
    pub fn start(
        client: DomainId,
        server: Ipv4Addr,
        pace: Pace,
        largest: u64,
        prng: &mut Prng,
        sockets: &mut SocketSet<'static>,
    ) -> Box<dyn App> {
        Box::new(Self {
            client,
            socket: socket(sockets),
            server: (server, WEB).into(),
            pace,
            largest,
            port: prng.between(10_000, 60_000) as u16,
            next: Moment::default(),
            left: 0,
            awaited: VecDeque::new(),
            read: 0,
            sending: Vec::new(),
        })
    }

    /// Compares what was received with what must come.
    fn read_pages(&mut self, mut bytes: &[u8], ledger: &mut Ledger) {
        while let Some(page) = self.awaited.front() {
            let rest = page.get(self.read..).unwrap_or_default();
            let (now, later) = bytes.split_at(bytes.len().min(rest.len()));
            if rest.get(..now.len()) != Some(now) {
                ledger.complain("content", format!("a page for {:?} is not what was asked", self.client));
            }
            self.read += now.len();
            bytes = later;
            if self.read < page.len() {
                return;
            }
            ledger.answered(self.client, ClientService::Page);
            ledger.carried(self.client, page.len());
            self.awaited.pop_front();
            self.read = 0;
        }
        if !bytes.is_empty() {
            ledger.complain("content", format!("{:?} receives a page it did not ask for", self.client));
        }
    }
}

impl App for Browser {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        interface: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        prng: &mut Prng,
    ) -> Option<Moment> {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        let mut arrived = Vec::new();
        while socket.can_recv() {
            let Ok(bytes) = socket.recv(|bytes| (bytes.len(), bytes.to_vec())) else { break };
            arrived.extend(bytes);
        }
        self.read_pages(&arrived, ledger);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        if !socket.is_open() {
            // It ended with pages to come.
            for _ in self.awaited.drain(..) {
                ledger.failed(self.client, ClientService::Page);
            }
            self.read = 0;
            self.sending.clear();
            if now >= self.pace.until {
                return None;
            }
            if now < self.next {
                return Some(self.next);
            }
            self.port = if self.port >= 60_000 { 10_000 } else { self.port + 1 };
            self.left = prng.between(1, 8);
            let _ = socket.connect(interface.context(), self.server, self.port);
            self.next = now;
        }
        let may_ask = self.awaited.is_empty() || self.awaited.len() < 3 && prng.chance(300);
        if self.left > 0 && now >= self.next && may_ask && now < self.pace.until {
            let (key, length) = (prng.bits(), prng.below(self.largest) as usize);
            self.sending.extend(request(key, length));
            self.awaited.push_back(page(key, length));
            ledger.asked(self.client, ClientService::Page);
            self.left -= 1;
            self.next = self.pace.next(now, prng);
        }
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        if socket.can_send() && !self.sending.is_empty() {
            let sent = socket.send_slice(&self.sending).unwrap_or(0);
            self.sending.drain(..sent);
        }
        let done = (self.left == 0 || now >= self.pace.until) && self.awaited.is_empty();
        if done && socket.may_send() && socket.state() == tcp::State::Established {
            socket.close();
        } else if done && socket.state() == tcp::State::TimeWait {
            // Its last state is of no use to us.
            socket.abort();
        }
        Some(self.next.max(now + Duration::from_millis(5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_names_what_the_page_is_made_of() {
        let mut bytes = request(7, 300);
        bytes.extend(b"GET");
        let head = take_head(&mut bytes).unwrap();
        assert_eq!(named(&head), Some((7, 300)));
        assert_eq!(bytes, b"GET");
        assert!(page(7, 300).ends_with(&content(7, 0, 300)));
    }
}
