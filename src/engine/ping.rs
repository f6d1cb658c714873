//! Pings of the firewall itself: the request is turned round and becomes its answer (RFC 792).
//!
//! Clients have theirs answered from the gateway's address and from ours on the uplink; whatever they cost, they cost
//! their sender, whose rings they go by. From the uplink our address there is pinged (RFC 1812 section 4.3.3.6), by
//! whoever likes to: those answers take room that clients' packets want, so they are few, and the command line may ask
//! for none. An answer is as large as its request: it is cut where that is too large for the way back, and where that was
//! forbidden the request's sender is told.

use super::datapath::{Datapath, PacketView, Verdict};
use super::settings::UplinkPings;
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::nat::rewrite::{answer_echo, readdress};
use crate::nat::translation::{Translation, Ttl};
use crate::route::icmp_error::IcmpError;
use crate::tables::allowance::Taken;
use crate::wire::ipv4::DontFragment;

impl Datapath {
    /// Answers the client `from`.
    pub(super) fn reply_to_client_ping(
        &mut self,
        now: Moment,
        from: ClientSlot,
        view: &mut PacketView<'_>,
    ) -> Verdict {
        match self.fits_back(now, Side::Client(from), view) {
            Ok(()) => self.turn_ping_round(Side::Client(from), view),
            Err(why) => Verdict::Discard(why),
        }
    }

    /// Answers a ping from the uplink, if its sender can be answered and there were not too many.
    #[inline(never)]
    pub(super) fn reply_to_uplink_ping(&mut self, now: Moment, view: &mut PacketView<'_>) -> Verdict {
        if self.settings.uplink_pings == UplinkPings::Ignored {
            return Verdict::Discard(DropReason::ForFirewall);
        }
        if let Err(why) = self.check_stranger(view.ip.source) {
            return Verdict::Discard(why);
        }
        let fits = self.fits_back(now, Side::Uplink, view);
        match fits.and_then(|()| self.allow_uplink_ping(now)) {
            Ok(()) => self.turn_ping_round(Side::Uplink, view),
            Err(why) => Verdict::Discard(why),
        }
    }

    /// Whether one packet more of an answer may leave by the uplink; if so it is counted.
    fn allow_uplink_ping(&mut self, now: Moment) -> Result<(), DropReason> {
        match self.uplink_pings_left.take(now) {
            Taken::Granted => Ok(()),
            Taken::Exhausted => Err(DropReason::PingRate),
        }
    }

    /// Whether a later fragment of a datagram from `from` may go the way of the first.
    pub(super) fn may_follow(
        &mut self,
        now: Moment,
        from: Side,
        translation: &Translation,
        view: &PacketView<'_>,
    ) -> Result<(), DropReason> {
        match (translation.ttl, translation.to) {
            (Ttl::Decrement, to) => self.fits(now, from, to, view),
            // The request ends here and its answer begins here, so the answer's TTL does not count down.
            (Ttl::Fresh, Side::Client(_)) => self.fits_back(now, from, view),
            (Ttl::Fresh, Side::Uplink) => {
                self.fits_back(now, from, view).and_then(|()| self.allow_uplink_ping(now))
            }
        }
    }

    /// Whether what goes back to `to`, as large as it came, fits the MTU there or may be cut; else its sender is told.
    fn fits_back(&mut self, now: Moment, to: Side, view: &PacketView<'_>) -> Result<(), DropReason> {
        let mtu = self.mtus.of(to);
        if view.ip.total_bytes <= mtu || view.ip.dont_fragment == DontFragment::Clear {
            return Ok(());
        }
        self.report(now, to, view, IcmpError::TooBig { mtu });
        Err(DropReason::TooBig)
    }

    fn turn_ping_round(&mut self, to: Side, view: &mut PacketView<'_>) -> Verdict {
        if let Err(why) = view.verify_icmp() {
            return Verdict::Discard(why);
        }
        let ip = view.ip;
        let ident = self.ident(to, ip.source, view);
        let translation =
            Translation { to, source: ip.destination, destination: ip.source, ident, ttl: Ttl::Fresh };
        readdress(view.header, &ip, &translation.new_header(&ip));
        if let Some(bytes) = view.header.get_mut(usize::from(ip.header_bytes)..) {
            answer_echo(bytes);
        }
        Verdict::Forward(translation)
    }
}
