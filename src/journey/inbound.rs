//! A packet from the uplink: whose is it?

use super::engine::{Engine, Parcel, Verdict};
use super::open::near_and_far_port;
use super::outbound::read_transport;
use crate::counters::Drop;
use crate::flow::key::{Face, Key};
use crate::flow::record::End;
use crate::time::Moment;
use crate::wire::icmp::{Icmp, Query};
use crate::wire::ipv4::protocol;
use crate::wire::transport::Transport;

impl Engine {
    /// Judges a packet from the uplink, whole or the first fragment of its datagram.
    ///
    /// There is one straight path for each of the two protocols that almost all packets are of.
    #[inline(always)]
    pub fn inbound(&mut self, now: Moment, parcel: &mut Parcel<'_>) -> Verdict {
        match parcel.ip.protocol {
            protocol::TCP => self.uplink_packet(now, protocol::TCP, parcel),
            protocol::UDP => self.uplink_packet(now, protocol::UDP, parcel),
            other => self.other_uplink_packet(now, other, &mut parcel.again()),
        }
    }

    #[inline(never)]
    fn other_uplink_packet(&mut self, now: Moment, protocol: u8, parcel: &mut Parcel<'_>) -> Verdict {
        self.uplink_packet(now, protocol, parcel)
    }

    #[inline(always)]
    fn uplink_packet(&mut self, now: Moment, protocol: u8, parcel: &mut Parcel<'_>) -> Verdict {
        let transport = match read_transport(parcel, protocol) {
            Ok(transport) => transport,
            Err(why) => return Verdict::Discard(why),
        };
        match transport {
            Transport::Icmp(Icmp::Error) => return self.error_inward(now, &mut parcel.again()),
            Transport::Icmp(Icmp::Request { query: Query::Echo, .. }) => {
                return self.answer_uplink_ping(now, &mut parcel.again());
            }
            Transport::Icmp(Icmp::Request { .. }) => return Verdict::Discard(Drop::ForFirewall),
            _ => {}
        }
        let (port, far_port) = near_and_far_port(&transport, End::Far);
        let name = Key { face: Face::Outside, protocol, port, far: parcel.ip.source, far_port };
        if let Some(id) = self.flows.find(&name)
            && let Some(verdict) = self.pass(now, id, End::Far, parcel, &transport)
        {
            return verdict;
        }
        self.open_inward(now, &mut parcel.again())
    }
}
