//! Pings of the firewall itself: the request is turned round and becomes its answer (RFC 792).
//!
//! Clients have theirs answered from the gateway's address and from ours on the uplink; whatever they cost, they cost
//! their sender, whose rings they go by. From the uplink our address there is pinged (RFC 1812 section 4.3.3.6), by
//! whoever likes to: those answers take room that clients' packets want, so they are few, and the command line may ask
//! for none. An answer is never larger than its request.

use super::engine::{Engine, Hop, Parcel, Passage, Verdict};
use super::settings::UplinkPings;
use crate::client::{ClientSlot, Side};
use crate::counters::Drop;
use crate::flow::allowance::Taken;
use crate::nat::rewrite::{answer_echo, readdress};
use crate::time::Moment;

impl Engine {
    /// Answers the client on `from`.
    pub(super) fn answer_client_ping(&mut self, from: ClientSlot, parcel: &mut Parcel<'_>) -> Verdict {
        self.turn_ping_round(Side::Client(from), parcel)
    }

    /// Answers a ping from the uplink, if its sender can be answered and it is not one too many.
    #[inline(never)]
    pub(super) fn answer_uplink_ping(&mut self, now: Moment, parcel: &mut Parcel<'_>) -> Verdict {
        if self.settings.uplink_pings == UplinkPings::Ignored {
            return Verdict::Discard(Drop::ForFirewall);
        }
        if let Err(why) = self.check_stranger(parcel.ip.source) {
            return Verdict::Discard(why);
        }
        match self.allow_uplink_ping(now) {
            Ok(()) => self.turn_ping_round(Side::Uplink, parcel),
            Err(why) => Verdict::Discard(why),
        }
    }

    /// Whether one packet more of an answer may leave by the uplink; if so it is counted.
    fn allow_uplink_ping(&mut self, now: Moment) -> Result<(), Drop> {
        match self.uplink_pings_left.take(now) {
            Taken::Granted => Ok(()),
            Taken::Exhausted => Err(Drop::PingRate),
        }
    }

    /// Whether a later fragment of a datagram from `from` may go the way of the first.
    pub(super) fn may_follow(
        &mut self,
        now: Moment,
        from: Side,
        passage: &Passage,
        parcel: &Parcel<'_>,
    ) -> Result<(), Drop> {
        match (passage.hop, passage.to) {
            (Hop::Next, to) => self.fits(now, from, to, parcel),
            // It has arrived; what it is turned into begins here.
            (Hop::First, Side::Client(_)) => Ok(()),
            (Hop::First, Side::Uplink) => self.allow_uplink_ping(now),
        }
    }

    fn turn_ping_round(&mut self, to: Side, parcel: &mut Parcel<'_>) -> Verdict {
        if let Err(why) = parcel.verify_icmp() {
            return Verdict::Discard(why);
        }
        let ip = parcel.ip;
        let ident = self.ident(to, ip.source, parcel);
        let passage = Passage { to, source: ip.destination, destination: ip.source, ident, hop: Hop::First };
        readdress(parcel.header, &ip, &passage.heading(&ip));
        if let Some(bytes) = parcel.header.get_mut(usize::from(ip.header_bytes)..) {
            answer_echo(bytes);
        }
        Verdict::Forward(passage)
    }
}
