//! What is sent back: ICMP errors and RSTs, no more than each receiver's allowance.

use super::datapath::{Datapath, PacketView, PendingReply};
use core::net::Ipv4Addr;

use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::route::icmp_error::{self, IcmpError};
use crate::route::reset;
use crate::tables::allowance::Taken;
use crate::wire::ipv4::Ipv4;
use crate::wire::tcp::Tcp;

impl Datapath {
    /// Prepares an ICMP error about `view` to the side it came from, unless it may not have one.
    #[cold]
    pub(super) fn report(&mut self, now: Moment, to: Side, view: &PacketView<'_>, what: IcmpError) {
        if !icmp_error::may_report(&view.ip, view.header) {
            return;
        }
        let (allowance, source) = match to {
            Side::Uplink => (Some(&mut self.uplink_errors), self.settings.uplink),
            Side::Client(slot) => {
                let client = self.clients.get_mut(slot);
                let gateway = client.as_ref().and_then(|client| client.visible.gateway);
                let gateway = gateway.unwrap_or(self.settings.client_gateway);
                (client.map(|client| &mut client.errors), gateway)
            }
        };
        if allowance.is_none_or(|allowance| allowance.take(now) == Taken::Exhausted) {
            self.counters.unanswered += 1;
            return;
        }
        let quoted = view.header.get(..usize::from(view.ip.total_bytes)).unwrap_or(view.header);
        let bytes = icmp_error::write(&mut self.reply, what, source, view.ip.source, quoted);
        self.pending_reply = Some(PendingReply { to, destination: view.ip.source, bytes });
        self.counters.answered += 1;
    }

    /// Prepares a RST to the client that sent `segment`.
    #[cold]
    pub(super) fn reset(&mut self, now: Moment, to: ClientSlot, ip: &Ipv4, segment: &Tcp) {
        let allowance = self.clients.get_mut(to).map(|client| &mut client.resets);
        if allowance.is_none_or(|allowance| allowance.take(now) == Taken::Exhausted) {
            self.counters.unanswered += 1;
            return;
        }
        let bytes = reset::write(&mut self.reply, ip, segment);
        self.pending_reply = Some(PendingReply { to: Side::Client(to), destination: ip.source, bytes });
        self.counters.answered += 1;
    }

    /// The reply that the last packet asked for, by which side it leaves and for whom.
    pub fn take_reply(&mut self) -> Option<(Side, Ipv4Addr, &[u8])> {
        let PendingReply { to, destination, bytes } = self.pending_reply.take()?;
        Some((self.clients.outside(to)?, destination, self.reply.get(..bytes)?))
    }
}
