//! A packet that came back from the uplink's link layer: whose was it?

use super::datapath::{Datapath, PacketView};
use super::transport::near_and_far_port;
use crate::base::side::Side;
use crate::base::time::Moment;
use crate::flow::end::End;
use crate::flow::key::{FlowKey, Realm};
use crate::nat::rewrite::{NewHeader, PortChange, readdress, repoint};
use crate::route::icmp_error::IcmpError;
use crate::wire::icmp::Icmp;
use crate::wire::ipv4::Ipv4;
use crate::wire::transport::Transport;

impl Datapath {
    /// Prepares an ICMP error to the client whose translated packet `view` could not be delivered. The
    /// packet is translated back first, so that the client recognises it.
    pub(super) fn report_unreachable(&mut self, now: Moment, view: &mut PacketView<'_>) {
        let ip = view.ip;
        let Ok(transport) = Transport::read(&ip, ip.protocol, view.header) else { return };
        // Of pings, only we answer on the uplink.
        if matches!(transport, Transport::Icmp(Icmp::Reply { .. })) {
            return;
        }
        let (port, far_port) = near_and_far_port(&transport, End::Near);
        let key =
            FlowKey { realm: Realm::External, protocol: ip.protocol, port, far: ip.destination, far_port };
        let Some(flow) = self.flows.find(&key).and_then(|id| self.flows.get(id)).copied() else { return };
        let Some(near) = self.clients.get(flow.near) else { return };
        let new_header = NewHeader {
            source: near.address,
            destination: ip.destination,
            ident: ip.ident,
            ttl: ip.ttl.saturating_add(1),
        };
        let addresses = readdress(view.header, &ip, &new_header);
        if let Some(bytes) = view.header.get_mut(usize::from(ip.header_bytes)..) {
            let change = PortChange::Source(flow.near_port);
            repoint(bytes, ip.protocol, &transport, view.offload.checksum, addresses, change);
        }
        let restored = Ipv4 { source: near.address, ..ip };
        let view = PacketView { header: view.header, ip: restored, offload: view.offload };
        self.report(now, Side::Client(flow.near), &view, IcmpError::HostUnreachable);
    }
}
