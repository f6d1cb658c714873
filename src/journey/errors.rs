//! ICMP errors that pass with the flow of the packet they quote (RFC 5508 section 4.2 and 7).
//!
//! An error never opens, refreshes or ends a flow. It is believed only if it goes to the sender of the packet
//! it quotes, that packet is of a flow that is alive, and, of TCP, can still be on its way (RFC 5927).

use super::engine::{Engine, Hop, Parcel, Passage, Verdict};
use crate::client::{ClientSlot, Side};
use crate::counters::Drop;
use crate::flow::key::{Face, Key};
use crate::flow::record::{End, Flow, Route, Stage};
use crate::flow::slab::Id;
use crate::flow::tcp::TcpStage;
use crate::nat::embedded::{Quote, QuoteFault};
use crate::nat::rewrite::{PortChange, readdress};
use crate::time::Moment;
use crate::wire::icmp::{self, Icmp};
use crate::wire::ipv4::Part;

impl From<QuoteFault> for Drop {
    fn from(fault: QuoteFault) -> Drop {
        match fault {
            QuoteFault::Broken => Drop::QuoteBroken,
            QuoteFault::Checksum => Drop::QuoteChecksum,
            QuoteFault::NoFlow => Drop::QuoteUnknown,
        }
    }
}

/// Reads the packet that an error quotes, once the error itself is found intact.
fn read_quote(parcel: &Parcel<'_>) -> Result<Quote, Drop> {
    if parcel.ip.part != Part::Whole {
        return Err(Drop::QuoteBroken);
    }
    parcel.verify_icmp()?;
    let message_at = usize::from(parcel.ip.header_bytes);
    let end = usize::from(parcel.ip.total_bytes);
    let quote =
        Quote::read(parcel.header.get(..end).unwrap_or(parcel.header), message_at + icmp::HEADER_BYTES)?;
    // The quoted packet is one that the error's receiver sent.
    if quote.source != parcel.ip.destination {
        return Err(Drop::QuoteMisdirected);
    }
    Ok(quote)
}

impl Engine {
    /// Judges an ICMP error from the uplink.
    #[inline(never)]
    pub(super) fn error_inward(&mut self, now: Moment, parcel: &mut Parcel<'_>) -> Verdict {
        self.try_error_inward(now, parcel).unwrap_or_else(Verdict::Discard)
    }

    fn try_error_inward(&mut self, now: Moment, parcel: &mut Parcel<'_>) -> Result<Verdict, Drop> {
        let quote = read_quote(parcel)?;
        let name = Key {
            face: Face::Outside,
            protocol: quote.protocol,
            port: quote.source_port,
            far: quote.destination,
            far_port: quote.destination_port,
        };
        let id = self.flows.find(&name).ok_or(Drop::QuoteUnknown)?;
        let flow = self.quoted_flow(now, id, End::Near, &quote)?;
        let near = self.clients.get(flow.near).ok_or(Drop::NoClient)?.address;
        let (to, ip) = (Side::Client(flow.near), parcel.ip);
        self.check_stranger(ip.source)?;
        self.fits(now, Side::Uplink, to, parcel)?;
        let message_at = usize::from(ip.header_bytes);
        quote.translate(parcel.header, message_at, near, PortChange::Source(flow.near_port));
        let passage = Passage { to, source: ip.source, destination: near, ident: ip.ident, hop: Hop::Next };
        readdress(parcel.header, &ip, &passage.heading(&ip));
        Ok(Verdict::Forward(passage))
    }

    /// Judges an ICMP error from the client on `from`.
    #[inline(never)]
    pub(super) fn error_outward(
        &mut self,
        now: Moment,
        from: ClientSlot,
        parcel: &mut Parcel<'_>,
    ) -> Verdict {
        self.try_error_outward(now, from, parcel).unwrap_or_else(Verdict::Discard)
    }

    fn try_error_outward(
        &mut self,
        now: Moment,
        from: ClientSlot,
        parcel: &mut Parcel<'_>,
    ) -> Result<Verdict, Drop> {
        let quote = read_quote(parcel)?;
        if quote.destination != parcel.ip.source {
            return Err(Drop::QuoteMisdirected);
        }
        let (id, sender) = self.flow_quoted_by_client(from, &quote).ok_or(Drop::QuoteUnknown)?;
        let flow = self.quoted_flow(now, id, sender, &quote)?;
        let ip = parcel.ip;
        let (to, source) = match (flow.route, sender) {
            (Route::Between(_), End::Near) => (Side::Client(flow.near), ip.source),
            (Route::Between(peer), End::Far) => (Side::Client(peer), ip.source),
            _ => (Side::Uplink, self.settings.uplink),
        };
        self.fits(now, Side::Client(from), to, parcel)?;
        if to == Side::Uplink {
            let message_at = usize::from(ip.header_bytes);
            quote.translate(parcel.header, message_at, source, PortChange::Destination(flow.outer_port));
        }
        let passage = Passage { to, source, destination: ip.destination, ident: ip.ident, hop: Hop::Next };
        readdress(parcel.header, &ip, &passage.heading(&ip));
        Ok(Verdict::Forward(passage))
    }

    /// The flow of a packet to the client on `from` that it quotes, and the end that sent the packet.
    fn flow_quoted_by_client(&self, from: ClientSlot, quote: &Quote) -> Option<(Id<Flow>, End)> {
        let is_request = matches!(quote.query, Some(Icmp::Request { .. }));
        let is_reply = matches!(quote.query, Some(Icmp::Reply { .. }));
        // The quoting client is the flow's near end and the far one sent the packet. A query's identifier is
        // read as the source port, and belongs to the near end either way.
        let (port, far_port) = match quote.query {
            Some(_) => (quote.source_port, quote.destination_port),
            None => (quote.destination_port, quote.source_port),
        };
        let protocol = quote.protocol;
        let as_near = Key { face: Face::Inside(from), protocol, port, far: quote.source, far_port };
        if !is_request && let Some(id) = self.flows.find(&as_near) {
            return Some((id, End::Far));
        }
        if is_reply {
            return None;
        }
        let near = self.clients.slot_of(quote.source)?;
        let as_far = Key {
            face: Face::Inside(near),
            protocol,
            port: quote.source_port,
            far: quote.destination,
            far_port: quote.destination_port,
        };
        self.flows.find(&as_far).map(|id| (id, End::Near))
    }

    /// The flow `id` if it is alive and `sender` may have sent the quoted packet on it.
    fn quoted_flow(&mut self, now: Moment, id: Id<Flow>, sender: End, quote: &Quote) -> Result<Flow, Drop> {
        if !self.is_alive(id, now) {
            return Err(Drop::QuoteUnknown);
        }
        let flow = self.flows.get(id).copied().ok_or(Drop::QuoteUnknown)?;
        let opener = flow.route.opener();
        let sent_it = match quote.query {
            Some(Icmp::Request { .. }) => sender == opener,
            Some(_) => sender != opener,
            None => true,
        };
        if !sent_it {
            return Err(Drop::QuoteUnknown);
        }
        if let (Stage::Tcp(stage), Some(sequence)) = (flow.stage, quote.sequence) {
            // Before it is answered only its opener has sent something.
            let may_have_sent = stage != TcpStage::Opening || sender == opener;
            if !may_have_sent || !flow.tcp.is_in_flight(sender, sequence) {
                return Err(Drop::QuoteSequence);
            }
        }
        Ok(flow)
    }
}
