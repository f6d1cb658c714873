//! A client's packet: which flow is it of?

use super::datapath::{Datapath, PacketView, Verdict};
use super::transport::{near_and_far_port, read_transport};
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::flow::end::End;
use crate::flow::key::{FlowKey, Realm};
use crate::route::icmp_error::IcmpError;
use crate::wire::icmp::{Icmp, Query};
use crate::wire::ipv4::protocol;
use crate::wire::transport::Transport;

impl Datapath {
    /// Judges a packet from the client `from`, whole or the first fragment of its datagram.
    ///
    /// There is one straight path for each of the two protocols that almost all packets are of.
    #[inline(always)]
    pub fn outbound(&mut self, now: Moment, from: ClientSlot, view: &mut PacketView<'_>) -> Verdict {
        match view.ip.protocol {
            protocol::TCP => self.client_packet(now, from, protocol::TCP, view),
            protocol::UDP => self.client_packet(now, from, protocol::UDP, view),
            other => self.other_client_packet(now, from, other, &mut view.again()),
        }
    }

    #[inline(never)]
    fn other_client_packet(
        &mut self,
        now: Moment,
        from: ClientSlot,
        protocol: u8,
        view: &mut PacketView<'_>,
    ) -> Verdict {
        self.client_packet(now, from, protocol, view)
    }

    #[inline(always)]
    fn client_packet(
        &mut self,
        now: Moment,
        from: ClientSlot,
        protocol: u8,
        view: &mut PacketView<'_>,
    ) -> Verdict {
        let transport = match read_transport(view, protocol) {
            Ok(transport) => transport,
            Err(why) => return Verdict::Discard(why),
        };
        match transport {
            Transport::Icmp(Icmp::Error) => return self.error_outward(now, from, &mut view.again()),
            // An answer is always the far end's.
            Transport::Icmp(Icmp::Reply { .. }) => {}
            _ => {
                let (port, far_port) = near_and_far_port(&transport, End::Near);
                let realm = Realm::Internal(from);
                let key = FlowKey { realm, protocol, port, far: view.ip.destination, far_port };
                if let Some(id) = self.flows.find(&key)
                    && let Some(verdict) = self.pass(now, id, End::Near, view, &transport)
                {
                    return verdict;
                }
            }
        }
        self.packet_of_no_own_flow(now, from, &mut view.again())
    }

    /// A client's packet that is of no flow of its own: of another client's, or of a new one.
    #[inline(never)]
    fn packet_of_no_own_flow(&mut self, now: Moment, from: ClientSlot, view: &mut PacketView<'_>) -> Verdict {
        // Read again rather than handed over: it stays in registers on the way that most packets take.
        let transport = match read_transport(view, view.ip.protocol) {
            Ok(transport) => transport,
            Err(why) => return Verdict::Discard(why),
        };
        let transport = &transport;
        if !matches!(transport, Transport::Icmp(Icmp::Request { .. }))
            && let Some(near) = self.clients.slot_of(view.ip.destination)
        {
            let (port, far_port) = near_and_far_port(transport, End::Far);
            let Some(client) = self.clients.get(from) else { return Verdict::Discard(DropReason::NoClient) };
            let (protocol, far) = (view.ip.protocol, client.address);
            let key = FlowKey { realm: Realm::Internal(near), protocol, port, far, far_port };
            if let Some(id) = self.flows.find(&key)
                && let Some(verdict) = self.pass_seldom(now, id, End::Far, view)
            {
                return verdict;
            }
        }
        self.open_outward(now, from, view, transport)
    }

    /// A client's packet to the firewall: pings are answered. TCP and UDP to the uplink address are dropped
    /// whether their port is used or not, so that a client learns nothing of the others' ports.
    #[inline(never)]
    pub(super) fn serve(
        &mut self,
        now: Moment,
        from: ClientSlot,
        view: &mut PacketView<'_>,
        transport: &Transport,
    ) -> Verdict {
        match transport {
            Transport::Icmp(Icmp::Request { query: Query::Echo, .. }) => {
                self.reply_to_client_ping(now, from, view)
            }
            Transport::Tcp(_) | Transport::Udp(_) if view.ip.destination == self.settings.uplink => {
                Verdict::Discard(DropReason::Hairpin)
            }
            _ => {
                self.report(now, Side::Client(from), view, IcmpError::HostProhibited);
                Verdict::Discard(DropReason::ForFirewall)
            }
        }
    }
}
