//! What is sent back: ICMP errors and RSTs, no more than each receiver's allowance.

use super::engine::{Answering, Engine, Parcel};
use crate::client::{ClientSlot, Side};
use crate::flow::allowance::Taken;
use crate::route::report::{self, Report};
use crate::route::reset;
use crate::time::Moment;
use crate::wire::ipv4::Ipv4;
use crate::wire::tcp::Tcp;

impl Engine {
    /// Prepares an ICMP error about `parcel` to the side it came from, unless it may not have one.
    #[cold]
    pub(super) fn report(&mut self, now: Moment, to: Side, parcel: &Parcel<'_>, what: Report) {
        if !report::may_report(&parcel.ip, parcel.header) {
            return;
        }
        let (allowance, source) = match to {
            Side::Uplink => (Some(&mut self.uplink_errors), self.settings.uplink),
            Side::Client(slot) => {
                (self.clients.get_mut(slot).map(|client| &mut client.errors), self.settings.client_gateway)
            }
        };
        if allowance.is_none_or(|allowance| allowance.take(now) == Taken::Exhausted) {
            self.counters.unanswered += 1;
            return;
        }
        let quoted = parcel.header.get(..usize::from(parcel.ip.total_bytes)).unwrap_or(parcel.header);
        let bytes = report::write(&mut self.answer, what, source, parcel.ip.source, quoted);
        self.answering = Some(Answering { to, bytes });
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
        let bytes = reset::write(&mut self.answer, ip, segment);
        self.answering = Some(Answering { to: Side::Client(to), bytes });
        self.counters.answered += 1;
    }

    /// The answer that the last packet asked for, and where it goes.
    pub fn take_answer(&mut self) -> Option<(Side, &[u8])> {
        let Answering { to, bytes } = self.answering.take()?;
        Some((self.clients.outside(to)?, self.answer.get(..bytes)?))
    }
}
