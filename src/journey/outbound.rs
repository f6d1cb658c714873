//! A client's packet: which flow is it of?

use super::engine::{Engine, Hop, Parcel, Passage, Verdict};
use super::open::near_and_far_port;
use super::pass::Passed;
use crate::client::{ClientSlot, Side};
use crate::counters::Drop;
use crate::flow::key::{Face, Key};
use crate::flow::record::{End, Flow};
use crate::flow::slab::Id;
use crate::nat::rewrite::{answer_echo, readdress};
use crate::route::report::Report;
use crate::time::Moment;
use crate::wire::icmp::{Icmp, IcmpFault};
use crate::wire::ipv4::Part;
use crate::wire::tcp::TcpFault;
use crate::wire::transport::{Transport, TransportFault};
use crate::wire::udp::UdpFault;

/// Reads what a packet carries. A first fragment without the whole layer-4 header is an attack on those who
/// judge by it (RFC 1858).
pub(super) fn read_transport(parcel: &Parcel<'_>) -> Result<Transport, Drop> {
    Transport::read(&parcel.ip, parcel.header).map_err(|fault| match fault {
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
    pub fn outbound(&mut self, now: Moment, from: ClientSlot, parcel: &mut Parcel<'_>) -> Verdict {
        let transport = match read_transport(parcel) {
            Ok(transport) => transport,
            Err(why) => return Verdict::Discard(why),
        };
        if transport == Transport::Icmp(Icmp::Error) {
            return self.error_outward(now, from, parcel);
        }
        if let Some((id, sender)) = self.flow_of_client(now, from, parcel, &transport)
            && let Passed::Verdict(verdict) = self.pass(now, id, sender, parcel, &transport)
        {
            return verdict;
        }
        self.open_outward(now, from, parcel, &transport)
    }

    /// The flow of a client's packet, and which end of it the client is.
    fn flow_of_client(
        &mut self,
        now: Moment,
        from: ClientSlot,
        parcel: &Parcel<'_>,
        transport: &Transport,
    ) -> Option<(Id<Flow>, End)> {
        let ip = &parcel.ip;
        if !matches!(transport, Transport::Icmp(Icmp::EchoReply { .. })) {
            let (port, far_port) = near_and_far_port(transport, End::Near);
            let name =
                Key { face: Face::Inside(from), protocol: ip.protocol, port, far: ip.destination, far_port };
            if let Some(id) = self.flows.find(&name)
                && self.is_alive(id, now)
            {
                return Some((id, End::Near));
            }
        }
        if matches!(transport, Transport::Icmp(Icmp::EchoRequest { .. })) {
            return None;
        }
        // The far end of another client's flow.
        let near = self.clients.slot_of(ip.destination)?;
        let (port, far_port) = near_and_far_port(transport, End::Far);
        let name = Key { face: Face::Inside(near), protocol: ip.protocol, port, far: ip.source, far_port };
        let id = self.flows.find(&name)?;
        self.is_alive(id, now).then_some((id, End::Far))
    }

    /// A client's packet to the firewall: pings are answered. TCP and UDP to the uplink address are dropped
    /// whether their port is used or not, so that a client learns nothing of the others' ports.
    pub(super) fn serve(
        &mut self,
        now: Moment,
        from: ClientSlot,
        parcel: &mut Parcel<'_>,
        transport: &Transport,
    ) -> Verdict {
        let ip = parcel.ip;
        match transport {
            Transport::Icmp(Icmp::EchoRequest { .. }) => {
                let passage = Passage {
                    to: Side::Client(from),
                    source: ip.destination,
                    destination: ip.source,
                    ident: ip.ident,
                    hop: Hop::First,
                };
                readdress(parcel.header, &ip, &passage.heading(&ip));
                if let Some(bytes) = parcel.header.get_mut(usize::from(ip.header_bytes)..) {
                    answer_echo(bytes);
                }
                Verdict::Forward(passage)
            }
            Transport::Tcp(_) | Transport::Udp(_) if ip.destination == self.settings.uplink => {
                Verdict::Discard(Drop::Hairpin)
            }
            _ => {
                self.report(now, Side::Client(from), parcel, Report::HostProhibited);
                Verdict::Discard(Drop::ForFirewall)
            }
        }
    }
}
