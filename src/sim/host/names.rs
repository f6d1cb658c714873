//! A name server and a client that looks names up, in DNS's own form: short flows, each from a new port.

use crate::base::time::Moment;
use crate::sim::host::apps::{App, Pace};
use crate::sim::oracle::ledger::{ClientService, Ledger};
use crate::sim::prng::Prng;
use crate::xen::DomainId;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::udp;
use smoltcp::wire::IpEndpoint;

/// Port of the name server.
pub const NAMES: u16 = 53;

/// How long a resolver waits for an answer before it asks again, and how often it asks.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: u32 = 3;

/// A question for the address of host number `host` (RFC 1035 section 4).
fn question(id: u16, host: u64) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // A standard query, recursion desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let label = format!("h{host:016x}");
    message.push(label.len() as u8);
    message.extend(label.as_bytes());
    message.extend(b"\x07example\0");
    // Type A, class IN.
    message.extend([0, 1, 0, 1]);
    message
}

/// The address of the host that a question asks for.
fn address(question: &[u8]) -> [u8; 4] {
    let name = question.get(12..).unwrap_or_default();
    let mixed = name.iter().fold(0u64, |sum, &byte| Prng::new(sum ^ u64::from(byte)).bits());
    (mixed as u32).to_be_bytes()
}

/// The answer to a question: it repeats it, and gives one address.
fn answer(question: &[u8]) -> Vec<u8> {
    let mut message = question.to_vec();
    if let Some(flags) = message.get_mut(2..8) {
        flags.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    }
    // The name is the one at offset 12; type A, class IN, an hour, four bytes.
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4]);
    message.extend(address(question));
    message
}

fn udp_socket(packets: usize, sockets: &mut SocketSet<'static>) -> SocketHandle {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; packets], vec![0; packets * 512]);
    sockets.add(udp::Socket::new(buffer(), buffer()))
}

/// Answers questions.
pub struct NameServer(SocketHandle);

impl NameServer {
    /// Listens on [`NAMES`].
    pub fn start(sockets: &mut SocketSet<'static>) -> Box<dyn App> {
        let socket = udp_socket(256, sockets);
        sockets.get_mut::<udp::Socket<'_>>(socket).bind(NAMES).expect("an unbound socket");
        Box::new(Self(socket))
    }
}

impl App for NameServer {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        _: &mut Interface,
        _: Moment,
        _: &mut Ledger,
        _: &mut Prng,
    ) -> Option<Moment> {
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.0);
        while socket.can_send() && socket.can_recv() {
            let Ok((asked, from)) = socket.recv() else { break };
            let reply = answer(asked);
            let _ = socket.send_slice(&reply, from);
        }
        None
    }
}

/// Looks names up, one after the other.
pub struct Lookups {
    client: DomainId,
    socket: SocketHandle,
    server: IpEndpoint,
    pace: Pace,
    next: Moment,
    current: Option<Lookup>,
}

struct Lookup {
    question: Vec<u8>,
    asked_at: Moment,
    tries: u32,
}

impl Lookups {
    /// Asks the server at `server`.
    pub fn start(
        client: DomainId,
        server: Ipv4Addr,
        pace: Pace,
        sockets: &mut SocketSet<'static>,
    ) -> Box<dyn App> {
        let socket = udp_socket(8, sockets);
        let (server, next) = ((server, NAMES).into(), Moment::default());
        Box::new(Self { client, socket, server, pace, next, current: None })
    }
}

impl App for Lookups {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        _: &mut Interface,
        now: Moment,
        ledger: &mut Ledger,
        prng: &mut Prng,
    ) -> Option<Moment> {
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.socket);
        while let Ok((bytes, _)) = socket.recv() {
            // A late answer to an earlier question has another id: it is passed over.
            let Some(lookup) = self.current.take_if(|lookup| bytes.get(..2) == lookup.question.get(..2))
            else {
                continue;
            };
            if bytes != answer(&lookup.question) {
                ledger.complain("content", format!("a name of {:?} was answered wrongly", self.client));
            }
            ledger.answered(self.client, ClientService::Lookup);
        }
        if let Some(lookup) = &mut self.current {
            if now < lookup.asked_at + PATIENCE {
                return Some(lookup.asked_at + PATIENCE);
            }
            if lookup.tries < TRIES {
                lookup.tries += 1;
                lookup.asked_at = now;
                let _ = socket.send_slice(&lookup.question, self.server);
                return Some(now + PATIENCE);
            }
            ledger.failed(self.client, ClientService::Lookup);
            self.current = None;
        }
        if now >= self.pace.until {
            return None;
        }
        if now >= self.next {
            socket.close();
            let question = question(prng.bits() as u16, prng.bits());
            let bound = socket.bind(prng.between(40_001, 65_000) as u16);
            if bound.is_ok() && socket.send_slice(&question, self.server).is_ok() {
                ledger.asked(self.client, ClientService::Lookup);
                self.current = Some(Lookup { question, asked_at: now, tries: 1 });
            }
            self.next = self.pace.next(now, prng);
        }
        Some(self.next.max(now + Duration::from_micros(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_own_address() {
        let asked = question(7, 1);
        let reply = answer(&asked);
        assert_eq!(reply[..2], asked[..2]);
        assert_eq!(reply[reply.len() - 4..], address(&asked));
        assert_ne!(address(&asked), address(&question(7, 2)));
    }
}
