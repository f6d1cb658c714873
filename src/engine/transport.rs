//! What a packet carries, as the engine takes it.

use super::datapath::PacketView;
use crate::base::drop_reason::DropReason;
use crate::flow::end::End;
use crate::wire::icmp::{Icmp, IcmpFault};
use crate::wire::ipv4::Part;
use crate::wire::tcp::TcpFault;
use crate::wire::transport::{Transport, TransportFault};
use crate::wire::udp::UdpFault;

/// Reads what a packet carries. A first fragment without the whole layer-4 header is an attack on those who
/// judge by it (RFC 1858).
#[inline(always)]
pub(super) fn read_transport(view: &PacketView<'_>, protocol: u8) -> Result<Transport, DropReason> {
    Transport::read(&view.ip, protocol, view.header).map_err(|fault| match fault {
        TransportFault::Tcp(TcpFault::Flags) => DropReason::TcpFlags,
        TransportFault::Udp(UdpFault::Length) => DropReason::UdpHeader,
        TransportFault::Icmp(IcmpFault::Kind) => DropReason::IcmpKind,
        _ if view.ip.part == Part::First => DropReason::FragmentTiny,
        TransportFault::Tcp(TcpFault::Short | TcpFault::Offset) => DropReason::TcpHeader,
        TransportFault::Udp(UdpFault::Short) => DropReason::UdpHeader,
        TransportFault::Icmp(IcmpFault::Short) => DropReason::IcmpHeader,
    })
}

/// Ports of a packet as the client on the near end sees them: (its own, the far end's). Of an ICMP query they are its
/// identifier and what it asks for, so that one kind of query never gets another's answer.
pub(super) const fn near_and_far_port(transport: &Transport, sender: End) -> (u16, u16) {
    let (source, destination) = match transport {
        Transport::Tcp(segment) => (segment.source_port, segment.destination_port),
        Transport::Udp(datagram) => (datagram.source_port, datagram.destination_port),
        Transport::Icmp(Icmp::Request { query, ident } | Icmp::Reply { query, ident }) => {
            return (*ident, query.kind() as u16);
        }
        Transport::Icmp(Icmp::Error) | Transport::Other => (0, 0),
    };
    match sender {
        End::Near => (source, destination),
        End::Far => (destination, source),
    }
}
