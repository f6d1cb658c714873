//! ICMP errors that pass with the flow of the packet they quote (RFC 5508 section 4.2 and 7).
//!
//! An error never opens, refreshes or ends a flow. It is believed only if it goes to the sender of the packet
//! it quotes, that packet is of a flow that is alive, and, of TCP, can still be on its way (RFC 5927).

use super::datapath::{Datapath, PacketView, Verdict};
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::flow::end::End;
use crate::flow::key::{FlowKey, Realm};
use crate::flow::record::{Flow, FlowKind, FlowStage};
use crate::flow::tcp::TcpStage;
use crate::nat::quote::{Quote, QuoteFault};
use crate::nat::rewrite::{PortChange, readdress};
use crate::nat::translation::{Translation, Ttl};
use crate::tables::slab::Id;
use crate::wire::icmp::{self, Icmp};
use crate::wire::ipv4::Part;
use core::net::Ipv4Addr;

impl From<QuoteFault> for DropReason {
    fn from(fault: QuoteFault) -> DropReason {
        match fault {
            QuoteFault::Broken => DropReason::QuoteBroken,
            QuoteFault::Checksum => DropReason::QuoteChecksum,
            QuoteFault::NoFlow => DropReason::QuoteUnknown,
        }
    }
}

/// Reads the packet that an error quotes, once the error itself is found intact.
fn read_quote(view: &PacketView<'_>) -> Result<Quote, DropReason> {
    if view.ip.part != Part::Whole {
        return Err(DropReason::QuoteBroken);
    }
    view.verify_icmp()?;
    let message_at = usize::from(view.ip.header_bytes);
    let end = usize::from(view.ip.total_bytes);
    let quote = Quote::read(view.header.get(..end).unwrap_or(view.header), message_at + icmp::HEADER_BYTES)?;
    // The quoted packet is one that the error's receiver sent.
    if quote.source != view.ip.destination {
        return Err(DropReason::QuoteMisdirected);
    }
    Ok(quote)
}

impl Datapath {
    /// Judges an ICMP error from the uplink.
    #[inline(never)]
    pub(super) fn error_inward(&mut self, now: Moment, view: &mut PacketView<'_>) -> Verdict {
        self.try_error_inward(now, view).unwrap_or_else(Verdict::Discard)
    }

    fn try_error_inward(&mut self, now: Moment, view: &mut PacketView<'_>) -> Result<Verdict, DropReason> {
        let quote = read_quote(view)?;
        let key = FlowKey {
            realm: Realm::External,
            protocol: quote.protocol,
            port: quote.source_port,
            far: quote.destination,
            far_port: quote.destination_port,
        };
        let id = self.flows.find(&key).ok_or(DropReason::QuoteUnknown)?;
        let flow = self.quoted_flow(now, id, End::Near, &quote)?;
        let near = self.clients.get(flow.near).ok_or(DropReason::NoClient)?.visible.address;
        let (to, ip) = (Side::Client(flow.near), view.ip);
        self.check_stranger(ip.source)?;
        self.fits(now, Side::Uplink, to, view)?;
        let message_at = usize::from(ip.header_bytes);
        quote.translate(view.header, message_at, near, PortChange::Source(flow.near_port));
        let translation =
            Translation { to, source: ip.source, destination: near, ident: ip.ident, ttl: Ttl::Decrement };
        readdress(view.header, &ip, &translation.new_header(&ip));
        Ok(Verdict::Forward(translation))
    }

    /// Judges an ICMP error from the client `from`.
    #[inline(never)]
    pub(super) fn error_outward(
        &mut self,
        now: Moment,
        from: ClientSlot,
        view: &mut PacketView<'_>,
    ) -> Verdict {
        self.try_error_outward(now, from, view).unwrap_or_else(Verdict::Discard)
    }

    fn try_error_outward(
        &mut self,
        now: Moment,
        from: ClientSlot,
        view: &mut PacketView<'_>,
    ) -> Result<Verdict, DropReason> {
        let quote = read_quote(view)?;
        if quote.destination != view.ip.source {
            return Err(DropReason::QuoteMisdirected);
        }
        let (id, sender) = self.flow_quoted_by_client(from, &quote).ok_or(DropReason::QuoteUnknown)?;
        let flow = self.quoted_flow(now, id, sender, &quote)?;
        let ip = view.ip;
        let peer = match (flow.kind, sender) {
            (FlowKind::ClientToClient(_), End::Near) => Some(flow.near),
            (FlowKind::ClientToClient(peer), End::Far) => Some(peer),
            _ => None,
        };
        let to = peer.map_or(Side::Uplink, Side::Client);
        self.fits(now, Side::Client(from), to, view)?;
        let message_at = usize::from(ip.header_bytes);
        let (source, destination) = match peer {
            Some(peer) => self.quote_between(from, peer, &quote, view.header, message_at)?,
            None => {
                let (source, change) = (self.settings.uplink, PortChange::Destination(flow.outer_port));
                quote.translate(view.header, message_at, source, change);
                (source, ip.destination)
            }
        };
        let translation = Translation { to, source, destination, ident: ip.ident, ttl: Ttl::Decrement };
        readdress(view.header, &ip, &translation.new_header(&ip));
        Ok(Verdict::Forward(translation))
    }

    /// Makes the packet that the client `from` quotes what the client `to` sent: as each of them sees addresses. Returns
    /// those of the error itself.
    fn quote_between(
        &self,
        from: ClientSlot,
        to: ClientSlot,
        quote: &Quote,
        header: &mut [u8],
        message_at: usize,
    ) -> Result<(Ipv4Addr, Ipv4Addr), DropReason> {
        let from = self.clients.get(from).ok_or(DropReason::NoClient)?;
        let to = self.clients.get(to).ok_or(DropReason::NoClient)?;
        let (source, destination) = (from.address, to.visible.address);
        // Of a query both ends have the identifier.
        let far_port = if quote.query.is_some() { quote.source_port } else { quote.destination_port };
        quote.translate(header, message_at, destination, PortChange::Source(quote.source_port));
        quote.translate(header, message_at, source, PortChange::Destination(far_port));
        Ok((source, destination))
    }

    /// The flow of the packet that the client `from` quotes, which was sent to that client, and the end that sent it.
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
        let as_near = FlowKey { realm: Realm::Internal(from), protocol, port, far: quote.source, far_port };
        if !is_request && let Some(id) = self.flows.find(&as_near) {
            return Some((id, End::Far));
        }
        if is_reply {
            return None;
        }
        let near = self.clients.slot_of(quote.source)?;
        let as_far = FlowKey {
            realm: Realm::Internal(near),
            protocol,
            port: quote.source_port,
            far: self.clients.get(from)?.address,
            far_port: quote.destination_port,
        };
        self.flows.find(&as_far).map(|id| (id, End::Near))
    }

    /// The flow `id` if it is alive and `sender` may have sent the quoted packet on it.
    fn quoted_flow(
        &mut self,
        now: Moment,
        id: Id<Flow>,
        sender: End,
        quote: &Quote,
    ) -> Result<Flow, DropReason> {
        if !self.is_alive(id, now) {
            return Err(DropReason::QuoteUnknown);
        }
        let flow = self.flows.get(id).copied().ok_or(DropReason::QuoteUnknown)?;
        let opener = flow.kind.opener();
        let sent_it = match quote.query {
            Some(Icmp::Request { .. }) => sender == opener,
            Some(_) => sender != opener,
            None => true,
        };
        if !sent_it {
            return Err(DropReason::QuoteUnknown);
        }
        if let (FlowStage::Tcp(stage), Some(sequence)) = (flow.stage, quote.sequence) {
            // Before it is answered only its opener has sent something.
            let may_have_sent = stage != TcpStage::SynSent || sender == opener;
            if !may_have_sent || !flow.tcp.is_in_flight(sender, sequence) {
                return Err(DropReason::QuoteSequence);
            }
        }
        Ok(flow)
    }
}
