//! A packet from the uplink: whose is it?

use super::datapath::{Datapath, PacketView, Verdict};
use super::transport::{near_and_far_port, read_transport};
use crate::base::drop_reason::DropReason;
use crate::base::time::Moment;
use crate::flow::end::End;
use crate::flow::key::{FlowKey, Realm};
use crate::wire::icmp::{Icmp, Query};
use crate::wire::ipv4::protocol;
use crate::wire::transport::Transport;

impl Datapath {
    /// Judges a packet from the uplink, whole or the first fragment of its datagram.
    ///
    /// There is one straight path for each of the two protocols that almost all packets are of.
    #[inline(always)]
    pub fn inbound(&mut self, now: Moment, view: &mut PacketView<'_>) -> Verdict {
        match view.ip.protocol {
            protocol::TCP => self.uplink_packet(now, protocol::TCP, view),
            protocol::UDP => self.uplink_packet(now, protocol::UDP, view),
            other => self.other_uplink_packet(now, other, &mut view.again()),
        }
    }

    #[inline(never)]
    fn other_uplink_packet(&mut self, now: Moment, protocol: u8, view: &mut PacketView<'_>) -> Verdict {
        self.uplink_packet(now, protocol, view)
    }

    #[inline(always)]
    fn uplink_packet(&mut self, now: Moment, protocol: u8, view: &mut PacketView<'_>) -> Verdict {
        let transport = match read_transport(view, protocol) {
            Ok(transport) => transport,
            Err(why) => return Verdict::Discard(why),
        };
        match transport {
            Transport::Icmp(Icmp::Error) => return self.error_inward(now, &mut view.again()),
            Transport::Icmp(Icmp::Request { query: Query::Echo, .. }) => {
                return self.reply_to_uplink_ping(now, &mut view.again());
            }
            Transport::Icmp(Icmp::Request { .. }) => return Verdict::Discard(DropReason::ForFirewall),
            _ => {}
        }
        let (port, far_port) = near_and_far_port(&transport, End::Far);
        let key = FlowKey { realm: Realm::External, protocol, port, far: view.ip.source, far_port };
        if let Some(id) = self.flows.find(&key)
            && let Some(verdict) = self.pass(now, id, End::Far, view, &transport)
        {
            return verdict;
        }
        self.open_inward(now, &mut view.again())
    }
}
