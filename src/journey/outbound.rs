//! A client's packet: which flow is it of?

use super::engine::{Engine, Parcel, Verdict};
use super::open::near_and_far_port;
use crate::client::{ClientSlot, Side};
use crate::counters::Drop;
use crate::flow::key::{Face, Key};
use crate::flow::record::End;
use crate::route::report::Report;
use crate::time::Moment;
use crate::wire::icmp::{Icmp, IcmpFault, Query};
use crate::wire::ipv4::{Part, protocol};
use crate::wire::tcp::TcpFault;
use crate::wire::transport::{Transport, TransportFault};
use crate::wire::udp::UdpFault;

/// Reads what a packet carries. A first fragment without the whole layer-4 header is an attack on those who
/// judge by it (RFC 1858).
#[inline(always)]
pub(super) fn read_transport(parcel: &Parcel<'_>, protocol: u8) -> Result<Transport, Drop> {
    Transport::read(&parcel.ip, protocol, parcel.header).map_err(|fault| match fault {
        TransportFault::Tcp(TcpFault::Flags) => Drop::TcpFlags,
        TransportFault::Udp(UdpFault::Length) => Drop::UdpHeader,
        TransportFault::Icmp(IcmpFault::Kind) => Drop::IcmpKind,
        _ if parcel.ip.part == Part::First => Drop::FragmentTiny,
        TransportFault::Tcp(TcpFault::Short | TcpFault::Offset) => Drop::TcpHeader,
        TransportFault::Udp(UdpFault::Short) => Drop::UdpHeader,
        TransportFault::Icmp(IcmpFault::Short) => Drop::IcmpHeader,
    })
}

impl Engine {
    /// Judges a packet from the client on `from`, whole or the first fragment of its datagram.
    ///
    /// There is one straight path for each of the two protocols that almost all packets are of.
    #[inline(always)]
    pub fn outbound(&mut self, now: Moment, from: ClientSlot, parcel: &mut Parcel<'_>) -> Verdict {
        match parcel.ip.protocol {
            protocol::TCP => self.client_packet(now, from, protocol::TCP, parcel),
            protocol::UDP => self.client_packet(now, from, protocol::UDP, parcel),
            other => self.other_client_packet(now, from, other, &mut parcel.again()),
        }
    }

    #[inline(never)]
    fn other_client_packet(
        &mut self,
        now: Moment,
        from: ClientSlot,
        protocol: u8,
        parcel: &mut Parcel<'_>,
    ) -> Verdict {
        self.client_packet(now, from, protocol, parcel)
    }

    #[inline(always)]
    fn client_packet(
        &mut self,
        now: Moment,
        from: ClientSlot,
        protocol: u8,
        parcel: &mut Parcel<'_>,
    ) -> Verdict {
        let transport = match read_transport(parcel, protocol) {
            Ok(transport) => transport,
            Err(why) => return Verdict::Discard(why),
        };
        match transport {
            Transport::Icmp(Icmp::Error) => return self.error_outward(now, from, &mut parcel.again()),
            // An answer is always the far end's.
            Transport::Icmp(Icmp::Reply { .. }) => {}
            _ => {
                let (port, far_port) = near_and_far_port(&transport, End::Near);
                let face = Face::Inside(from);
                let name = Key { face, protocol, port, far: parcel.ip.destination, far_port };
                if let Some(id) = self.flows.find(&name)
                    && let Some(verdict) = self.pass(now, id, End::Near, parcel, &transport)
                {
                    return verdict;
                }
            }
        }
        self.packet_of_no_own_flow(now, from, &mut parcel.again())
    }

    /// A client's packet that is of no flow of its own: of another client's, or of a new one.
    #[inline(never)]
    fn packet_of_no_own_flow(&mut self, now: Moment, from: ClientSlot, parcel: &mut Parcel<'_>) -> Verdict {
        // Read again rather than handed over: it stays in registers on the way that most packets take.
        let transport = match read_transport(parcel, parcel.ip.protocol) {
            Ok(transport) => transport,
            Err(why) => return Verdict::Discard(why),
        };
        let transport = &transport;
        if !matches!(transport, Transport::Icmp(Icmp::Request { .. }))
            && let Some(near) = self.clients.slot_of(parcel.ip.destination)
        {
            let (port, far_port) = near_and_far_port(transport, End::Far);
            let (protocol, far) = (parcel.ip.protocol, parcel.ip.source);
            let name = Key { face: Face::Inside(near), protocol, port, far, far_port };
            if let Some(id) = self.flows.find(&name)
                && let Some(verdict) = self.pass_seldom(now, id, End::Far, parcel)
            {
                return verdict;
            }
        }
        self.open_outward(now, from, parcel, transport)
    }

    /// A client's packet to the firewall: pings are answered. TCP and UDP to the uplink address are dropped
    /// whether their port is used or not, so that a client learns nothing of the others' ports.
    #[inline(never)]
    pub(super) fn serve(
        &mut self,
        now: Moment,
        from: ClientSlot,
        parcel: &mut Parcel<'_>,
        transport: &Transport,
    ) -> Verdict {
        match transport {
            Transport::Icmp(Icmp::Request { query: Query::Echo, .. }) => {
                self.answer_client_ping(now, from, parcel)
            }
            Transport::Tcp(_) | Transport::Udp(_) if parcel.ip.destination == self.settings.uplink => {
                Verdict::Discard(Drop::Hairpin)
            }
            _ => {
                self.report(now, Side::Client(from), parcel, Report::HostProhibited);
                Verdict::Discard(Drop::ForFirewall)
            }
        }
    }
}
