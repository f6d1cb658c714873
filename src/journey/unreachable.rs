//! A packet that came back from the uplink's link layer: whose was it?

use super::engine::{Engine, Parcel};
use super::open::near_and_far_port;
use crate::client::Side;
use crate::flow::key::{Face, Key};
use crate::flow::record::End;
use crate::nat::rewrite::{Heading, PortChange, readdress, repoint};
use crate::route::report::Report;
use crate::time::Moment;
use crate::wire::icmp::Icmp;
use crate::wire::ipv4::Ipv4;
use crate::wire::transport::Transport;

impl Engine {
    /// Prepares an ICMP error to the client whose translated packet `parcel` could not be delivered. The
    /// packet is translated back first, so that the client recognises it.
    pub(super) fn report_unreachable(&mut self, now: Moment, parcel: &mut Parcel<'_>) {
        let ip = parcel.ip;
        let Ok(transport) = Transport::read(&ip, ip.protocol, parcel.header) else { return };
        // Of pings, only we answer on the uplink.
        if matches!(transport, Transport::Icmp(Icmp::Reply { .. })) {
            return;
        }
        let (port, far_port) = near_and_far_port(&transport, End::Near);
        let name = Key { face: Face::Outside, protocol: ip.protocol, port, far: ip.destination, far_port };
        let Some(flow) = self.flows.find(&name).and_then(|id| self.flows.get(id)).copied() else { return };
        let Some(near) = self.clients.get(flow.near) else { return };
        let heading = Heading {
            source: near.address,
            destination: ip.destination,
            ident: ip.ident,
            ttl: ip.ttl.saturating_add(1),
        };
        let addresses = readdress(parcel.header, &ip, &heading);
        if let Some(bytes) = parcel.header.get_mut(usize::from(ip.header_bytes)..) {
            let change = PortChange::Source(flow.near_port);
            repoint(bytes, ip.protocol, &transport, parcel.offload.checksum, addresses, change);
        }
        let restored = Ipv4 { source: near.address, ..ip };
        let parcel = Parcel { header: parcel.header, ip: restored, offload: parcel.offload };
        self.report(now, Side::Client(flow.near), &parcel, Report::HostUnreachable);
    }
}
