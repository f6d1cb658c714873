//! Pings of the firewall itself: the request is turned round and becomes its answer (RFC 792).
//!
//! Clients have theirs answered from the gateway's address and from ours on the uplink; whatever they cost, they cost
//! their sender, whose rings they go by. From the uplink our address there is pinged (RFC 1812 section 4.3.3.6), by
//! whoever likes to: those answers take room that clients' packets want, so they are few, and the command line may ask
//! for none. An answer is as large as its request: it is cut where that is too large for the way back, and where that was
//! forbidden the request's sender is told.

use super::engine::{Engine, Hop, Parcel, Passage, Verdict};
use super::settings::UplinkPings;
use crate::client::{ClientSlot, Side};
use crate::counters::Drop;
use crate::flow::allowance::Taken;
use crate::nat::rewrite::{answer_echo, readdress};
use crate::route::report::Report;
use crate::time::Moment;
use crate::wire::ipv4::Cutting;

impl Engine {
    /// Answers the client on `from`.
    pub(super) fn answer_client_ping(
        &mut self,
        now: Moment,
        from: ClientSlot,
        parcel: &mut Parcel<'_>,
    ) -> Verdict {
        match self.fits_back(now, Side::Client(from), parcel) {
            Ok(()) => self.turn_ping_round(Side::Client(from), parcel),
            Err(why) => Verdict::Discard(why),
        }
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
        let fits = self.fits_back(now, Side::Uplink, parcel);
        match fits.and_then(|()| self.allow_uplink_ping(now)) {
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
            (Hop::First, Side::Client(_)) => self.fits_back(now, from, parcel),
            (Hop::First, Side::Uplink) => {
                self.fits_back(now, from, parcel).and_then(|()| self.allow_uplink_ping(now))
            }
        }
    }

    /// Whether what goes back to `to`, as large as it came, fits the MTU there or may be cut; else its sender is told.
    fn fits_back(&mut self, now: Moment, to: Side, parcel: &Parcel<'_>) -> Result<(), Drop> {
        let mtu = self.mtus.of(to);
        if parcel.ip.total_bytes <= mtu || parcel.ip.cutting == Cutting::Allowed {
            return Ok(());
        }
        self.report(now, to, parcel, Report::TooBig { mtu });
        Err(Drop::TooBig)
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
