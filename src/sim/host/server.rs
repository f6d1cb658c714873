//! The host beyond the uplink: gateway and servers in one, with what the clients' applications ask for.

use crate::base::time::Moment;
use crate::sim::host::apps::App;
use crate::sim::host::transfer::{Stream, TransferRequest};
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};

/// Port of the echo server.
pub const ECHO: u16 = 7;
/// Port of the transfer server.
pub const TRANSFER: u16 = 80;
/// Connections that can wait or be served at once.
const CONNECTIONS: usize = 24;

/// Echoes datagrams.
pub struct Echo(SocketHandle);

impl Echo {
    /// Echoes what comes to `port`.
    pub fn start(port: u16, sockets: &mut SocketSet<'static>) -> Box<dyn App> {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 256], vec![0; 1 << 17]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).expect("an unbound socket");
        Box::new(Self(sockets.add(socket)))
    }
}

impl App for Echo {
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
            let Ok((data, from)) = socket.recv() else { break };
            let data = data.to_vec();
            let _ = socket.send_slice(&data, from);
        }
        None
    }
}

#[derive(Default)]
struct ServerConnection {
    header: Vec<u8>,
    /// What comes and what goes, once the header says so.
    streams: Option<[Stream; 2]>,
}

/// Takes and gives bulk data.
pub struct TransferServer {
    connections: Vec<(SocketHandle, ServerConnection)>,
}

impl TransferServer {
    /// Listens on [`TRANSFER`].
    pub fn start(sockets: &mut SocketSet<'static>) -> Box<dyn App> {
        let connections = (0..CONNECTIONS).map(|_| {
            let buffer = || tcp::SocketBuffer::new(vec![0; 32 << 10]);
            let mut socket = tcp::Socket::new(buffer(), buffer());
            socket.set_timeout(Some(smoltcp::time::Duration::from_secs(20)));
            (sockets.add(socket), ServerConnection::default())
        });
        Box::new(Self { connections: connections.collect() })
    }
}

impl App for TransferServer {
    fn drive(
        &mut self,
        sockets: &mut SocketSet<'static>,
        _: &mut Interface,
        _: Moment,
        ledger: &mut Ledger,
        _: &mut Prng,
    ) -> Option<Moment> {
        for (handle, connection) in &mut self.connections {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(*handle);
            if !socket.is_open() {
                *connection = ServerConnection::default();
                let _ = socket.listen(TRANSFER);
                continue;
            }
            if socket.is_listening() {
                continue;
            }
            serve(socket, connection, ledger);
        }
        None
    }
}

fn serve(
    socket: &mut tcp::Socket<'_>,
    ServerConnection { header, streams }: &mut ServerConnection,
    ledger: &mut Ledger,
) {
    while socket.can_recv() {
        let taken = socket.recv(|bytes| (bytes.len(), bytes.to_vec()));
        let Ok(mut bytes) = taken else { break };
        if streams.is_none() {
            let lacking = TransferRequest::BYTES.saturating_sub(header.len()).min(bytes.len());
            header.extend(bytes.drain(..lacking));
            *streams = TransferRequest::read(header).map(TransferRequest::streams);
        }
        if let Some([up, _]) = streams
            && let Err(what) = up.check(&bytes)
        {
            ledger.complain("content", format!("upload {what}"));
        }
    }
    let Some([up, down]) = streams else {
        // It closed without having asked.
        if !socket.may_recv() && socket.state() == tcp::State::CloseWait {
            socket.close();
        }
        return;
    };
    down.send(socket);
    if up.is_over() && down.is_over() {
        socket.close();
    }
}
