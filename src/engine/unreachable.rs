//! A packet that came back because its next hop is silent: its client is told.

use super::datapath::{Datapath, PacketView};
use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::nat::rewrite::{NewHeader, PortChange, readdress, repoint};
use crate::route::icmp_error::IcmpError;
use crate::tables::share::Account;
use crate::wire::ipv4::{Ipv4, Part};
use crate::wire::packet::Original;
use crate::wire::transport::Transport;

impl Datapath {
    /// Prepares an ICMP error to the client whose translated packet `view` could not be delivered. The packet is
    /// translated back first, so that the client recognises it. Who it is the packet does not say: several clients may
    /// believe to have one address, and another one may have it in truth.
    pub(super) fn report_unreachable(
        &mut self,
        now: Moment,
        view: &mut PacketView<'_>,
        original: Original,
        sender: Account,
    ) {
        let ip = view.ip;
        // Of a later fragment nobody is told (RFC 1122 section 3.2.2).
        if !matches!(ip.part, Part::Whole | Part::First) {
            return;
        }
        let Ok(transport) = Transport::read(&ip, ip.protocol, view.header) else { return };
        let has_sent = |number: &ClientSlot| {
            self.clients.get(*number).is_some_and(|client| client.visible.address == original.source)
        };
        let Some(client) = sender.owner().filter(has_sent) else { return };
        let new_header = NewHeader {
            source: original.source,
            destination: ip.destination,
            ident: original.ident,
            ttl: ip.ttl.saturating_add(1),
        };
        let addresses = readdress(view.header, &ip, &new_header);
        if let Some(bytes) = view.header.get_mut(usize::from(ip.header_bytes)..) {
            let change = PortChange::Source(original.port);
            repoint(bytes, ip.protocol, &transport, view.offload.checksum, addresses, change);
        }
        let restored = Ipv4 { source: original.source, ..ip };
        let view = PacketView { header: view.header, ip: restored, offload: view.offload };
        self.report(now, Side::Client(client), &view, IcmpError::HostUnreachable);
    }
}
