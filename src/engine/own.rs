//! Datagrams of our own, on the uplink: questions to name servers and their answers.
//!
//! They leave from ports of the same pool as clients' do, each as long as it is open; what comes to such a port is nobody
//! else's. Who asks, and what an answer means, is not known here.

use super::datapath::{Datapath, PacketView, Verdict};
use super::own_datagram::OwnDatagram;
use super::{Engine, Output};
use crate::base::drop_reason::DropReason;
use crate::base::host_name::HostName;
use crate::base::side::Side;
use crate::base::time::Moment;
use crate::guard::name_addresses::FlowsConcerned;
use crate::route::destination::Reach;
use crate::route::icmp_error::write_ip;
use crate::wire::bytes::{put_u16, u16_at};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Part, protocol};
use crate::wire::packet::{Checksum, Packet};
use crate::wire::udp::{self, Udp};
use core::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of IP and UDP headers.
const HEADER_BYTES: usize = ipv4::HEADER_BYTES + udp::HEADER_BYTES;

impl<D: Packet> Engine<D> {
    /// Opens a port of our own, any that is free with the same likelihood.
    pub fn open_own_port(&mut self) -> Option<u16> {
        self.datapath.mappings.open_own_port()
    }

    /// Closes a port of our own.
    pub fn close_own_port(&mut self, port: u16) {
        self.datapath.mappings.close_own_port(port);
    }

    /// A key that nobody can foresee.
    pub fn random_key(&mut self) -> (u64, u64) {
        self.datapath.mappings.random_key()
    }

    /// Sends a datagram of ours by the uplink. One that is too large, or for whom nothing can be sent to, is lost.
    pub fn send_own(&mut self, port: u16, to: SocketAddrV4, payload: &[u8], output: &mut impl Output<D>) {
        if let Some(packet) = self.datapath.write_own(port, to, payload) {
            output.reply(Side::Uplink, packet, *to.ip());
        }
    }

    /// A name in the rules stands for these addresses from `now` on. Flows by those that it stood for go on.
    pub fn set_addresses(&mut self, host: &HostName, addresses: impl Iterator<Item = Ipv4Addr>, now: Moment) {
        match self.datapath.rules.set_addresses(host, addresses, now) {
            FlowsConcerned::None => {}
            FlowsConcerned::OfThoseWhoRefuse => {
                self.datapath.judge_again_of(|rules, client| rules.refuses(client, host), now);
            }
            FlowsConcerned::All => self.datapath.judge_again_of(|_, _| true, now),
        }
    }
}

impl Datapath {
    fn write_own(&mut self, port: u16, to: SocketAddrV4, payload: &[u8]) -> Option<&[u8]> {
        let (source, destination) = (self.settings.uplink, *to.ip());
        if self.settings.network().reach(destination) != Reach::Host
            || source.is_unspecified()
            || source == destination
            || self.is_inside(destination)
        {
            return None;
        }
        let total = HEADER_BYTES + payload.len();
        let packet = self.reply.get_mut(..total)?;
        let (_, datagram) = packet.split_at_mut(ipv4::HEADER_BYTES);
        let bytes = datagram.len() as u16;
        put_u16(datagram, 0, port);
        put_u16(datagram, 2, to.port());
        put_u16(datagram, 4, bytes);
        put_u16(datagram, udp::at::CHECKSUM, 0);
        datagram.get_mut(udp::HEADER_BYTES..)?.copy_from_slice(payload);
        let sum =
            Sum::ZERO.pseudo_header(source, destination, protocol::UDP, bytes).bytes(datagram).checksum();
        // A computed zero is sent as ones: zero means none (RFC 768).
        put_u16(datagram, udp::at::CHECKSUM, if sum == 0 { u16::MAX } else { sum });
        write_ip(packet, total, 0, protocol::UDP, source, destination);
        Some(packet)
    }

    /// Judges a datagram to a port of ours. It must be whole and intact.
    #[cold]
    pub(super) fn take_own(&self, view: &PacketView<'_>, datagram: &Udp) -> Verdict {
        let begin = u16::from(view.ip.header_bytes);
        let end = begin + datagram.bytes;
        let bytes = view.header.get(begin.into()..end.into());
        let Some(bytes) = bytes.filter(|_| view.ip.part == Part::Whole) else {
            return Verdict::Discard(DropReason::ForFirewall);
        };
        let has_sum = u16_at(bytes, udp::at::CHECKSUM).is_some_and(|sum| sum != 0);
        if has_sum && view.offload.checksum == Checksum::Unverified {
            let sum =
                Sum::ZERO.pseudo_header(view.ip.source, view.ip.destination, protocol::UDP, datagram.bytes);
            if !sum.bytes(bytes).verifies() {
                return Verdict::Discard(DropReason::UdpHeader);
            }
        }
        Verdict::Receive(OwnDatagram {
            from: SocketAddrV4::new(view.ip.source, datagram.source_port),
            port: datagram.destination_port,
            begin: begin + udp::HEADER_BYTES as u16,
            end,
        })
    }
}
