//! The data plane: rings, engine, egress. It knows nothing of XenStore, and is told what changes.

use super::client_exchange::{Armed, ClientExchange, WayAhead};
use super::egress::{Egress, EgressContext, GATEWAY_MAC};
use super::names::NameService;
use super::uplink_arp;
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::base::time::{Moment, UnixSeconds};
use crate::config::Change;
use crate::config::change::Ownership;
use crate::config::resolvers::Resolvers;
use crate::config::uplink_route::UplinkRoute;
use crate::engine::Engine;
use crate::route::proxy_arp::{self, Asker};
use crate::tables::share::Account;
use crate::vif::backpressure::{Backpressure, Drain, EgressLimits};
use crate::vif::client::ClientVif;
use crate::vif::features::{Features, Support};
use crate::vif::frame::{Frame, NoFrame};
use crate::vif::in_flight::Collected;
use crate::vif::lifecycle::frontend::Link;
use crate::vif::netback;
use crate::vif::netfront;
use crate::vif::parcel::{Arrived, Parcel};
use crate::vif::ring::{RING_SIZE, Wakeup};
use crate::vif::uplink::Uplink;
use crate::wire::arp::Arp;
use crate::wire::ethernet::{EtherType, HEADER_BYTES, Header, Mac};
use crate::xen::Xen;
use crate::xen::charge::Charge;
use crate::xen::event::Port;
use crate::xen::page_pool::PagePool;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// What moves packets.
pub struct DataPlane {
    pub(super) engine: Engine<Frame>,
    pub(super) egress: Egress,
    pub(super) exchange: ClientExchange,
    /// Frames that arrived from the uplink in this pass.
    received: Vec<Arrived>,
    gate: Backpressure,
    pub(super) names: NameService,
    /// The name servers that are configured. Without a way to them none is asked.
    resolvers: Resolvers,
    /// Until when [`Self::advance`] does nothing: what time brings is not due before, or may be that late.
    rests_until: Moment,
    /// See [`Self::due`]; `None` when something has happened since it was looked up that may have changed it.
    pub(super) due: Option<Moment>,
}

/// How late what time brings due may be noticed while packets come: tables count in seconds.
const LATENESS: Duration = Duration::from_millis(10);

impl DataPlane {
    /// No vif yet; `route` says how things are on the uplink.
    pub fn new(
        mut engine: Engine<Frame>,
        route: Option<UplinkRoute>,
        resolvers: Resolvers,
        now: Moment,
    ) -> Self {
        let mut names = NameService::new(engine.random_key());
        names.set_names(&engine, now);
        names.set_servers(servers(route, &resolvers), now);
        Self {
            engine,
            egress: Egress::new(route),
            exchange: ClientExchange::default(),
            received: Vec::with_capacity(RING_SIZE as usize),
            gate: Backpressure::default(),
            names,
            resolvers,
            rests_until: Moment::default(),
            due: None,
        }
    }

    /// Applies the changes that the control plane has queued.
    pub fn apply(&mut self, changes: impl Iterator<Item = Change>, pages: &mut PagePool, now: Moment) {
        let mut network = UplinkNetwork::Known;
        self.look_again();
        for change in changes {
            match change {
                Change::Route { to, .. } => {
                    self.set_route(to);
                    network = UplinkNetwork::New;
                }
                Change::UplinkConnected { mtu } => {
                    self.engine.set_mtu(Side::Uplink, mtu);
                    network = UplinkNetwork::New;
                }
                Change::ClientGateway(address) => self.engine.set_client_gateway(address),
                Change::Rules(table, _) => {
                    self.engine.set_rules(*table, now);
                    self.names.set_names(&self.engine, now);
                }
                Change::LiveRules(update, _) => {
                    self.engine.update_rules(*update, now);
                    self.names.set_names(&self.engine, now);
                }
                Change::RandomSeed(seed) => self.engine.mix_seed(seed),
                Change::Resolvers(resolvers) => {
                    self.resolvers = resolvers;
                    self.set_servers(now);
                }
                Change::Quotas(quotas) => self.engine.set_quotas(quotas),
                Change::VisibleAddresses(visible) => self.engine.set_visible_addresses(visible),
                Change::InsideAddresses(inside) => self.engine.set_inside_addresses(inside),
                Change::UplinkPings(pings) => self.engine.set_uplink_pings(pings),
                // Only the console is told of these.
                Change::LogLevel(_) | Change::Refused(_) | Change::OptionRefused(_) => {}
                Change::Ownership(change) => self.change_owner(change, pages, now),
            }
        }
        if network == UplinkNetwork::New {
            // What nobody answered before is asked for soon, and what is known may be otherwise here.
            self.names.set_servers(&[], now);
            self.set_servers(now);
            let mut context = EgressContext { egress: &mut self.egress, pages, now };
            context.with_neighbours(|neighbours, output| neighbours.clear(output));
            context.announce_address();
        }
    }

    fn set_route(&mut self, route: Option<UplinkRoute>) {
        let (address, bits) = route.map_or((Ipv4Addr::UNSPECIFIED, 32), |route| {
            (route.address().address(), route.address().length())
        });
        self.engine.set_uplink_prefix_bits(bits);
        self.engine.set_uplink_address(address);
        self.egress.set_route(route);
    }

    fn set_servers(&mut self, now: Moment) {
        self.names.set_servers(servers(self.egress.route(), &self.resolvers), now);
    }

    /// An address came to a client or left it.
    fn change_owner(&mut self, change: Ownership, pages: &mut PagePool, now: Moment) {
        match change {
            Ownership::Gained(slot, address) => {
                let account = self.engine.attach(slot, address, now);
                if let Some(account) = account {
                    // An account belongs to an address: what still waits on it was sent by whoever had the address
                    // before.
                    let mut context = EgressContext { egress: &mut self.egress, pages, now };
                    context.with_neighbours(|neighbours, output| neighbours.abandon(account, output));
                }
                let Some(vif) = self.egress.vifs.clients.vif(slot) else { return };
                // Account and MTU both hold as long as the client is attached.
                vif.charge_to(account.unwrap_or(Account::UPLINK));
                if let Some(mtu) = vif.directory().words().mtu() {
                    self.engine.set_mtu(Side::Client(slot), mtu);
                }
            }
            Ownership::Lost(slot) => {
                self.engine.detach(slot, now);
                if let Some(vif) = self.egress.vifs.clients.vif(slot) {
                    vif.charge_to(Account::UPLINK);
                }
            }
        }
    }

    /// Lists the ports of all rings.
    pub fn list_ports(&mut self, ports: &mut Vec<Port>) {
        if let Some(netfront) = self.egress.vifs.netfront() {
            ports.extend(netfront.channels().ports());
        }
        ports.extend(self.egress.vifs.clients.rings().flat_map(|(_, netback)| netback.channels().ports()));
    }

    /// Takes the frames that the uplink received, for [`Self::judge_received`]. If the backend broke the protocol,
    /// those that came before that are taken.
    pub fn receive_from_uplink<X: Xen>(&mut self, xen: &mut X) -> Received {
        self.exchange.begin(xen.pages());
        let Some(device) = self.egress.vifs.uplink.as_mut() else { return Received::NOTHING };
        let mac = device.mac();
        let Some(netfront) = device.netfront() else { return Received::NOTHING };
        let (packets, bounces) = (&mut self.received, self.exchange.bounces());
        let reaped = netfront.reap(xen);
        let result = reaped.and_then(|()| netfront.receive(xen, bounces, &mut |packet| packets.push(packet)));
        Received { mac, broken: result.err() }
    }

    /// Judges what the uplink received, where our Ethernet address is `mac`, and passes on what may pass.
    pub fn judge_received(&mut self, mac: Mac, pages: &mut PagePool, now: Moment) {
        let mut packets = core::mem::take(&mut self.received);
        for packet in packets.drain(..) {
            let frame = match packet {
                Arrived::Parcel(parcel) => self
                    .pass_from_uplink(parcel, mac, pages, now)
                    .and_then(|left| self.frame_from_uplink(left, pages).ok()),
                Arrived::Frame(frame) => Some(frame),
            };
            // What is no frame was passed, or was given back.
            if let Some(frame) = frame {
                self.take_from_uplink(frame, mac, pages, now);
            }
            if let Some((datagram, payload)) = self.egress.received.take() {
                self.names.receive(datagram, &payload, now);
                self.look_again();
            }
        }
        self.received = packets;
    }

    /// A packet from the uplink as a frame. Without a page it is lost, and counted.
    pub(super) fn frame_from_uplink(
        &mut self,
        parcel: Parcel,
        pages: &mut PagePool,
    ) -> Result<Frame, NoFrame> {
        let frame = parcel.into_frame(self.exchange.bounces(), Charge::UPLINK, pages);
        if frame.is_err() {
            self.egress.drops.count(DropReason::NoPage);
        }
        frame
    }

    /// One frame from the uplink.
    fn take_from_uplink(&mut self, frame: Frame, mac: Mac, pages: &mut PagePool, now: Moment) {
        self.due = None;
        let mut context = EgressContext { egress: &mut self.egress, pages, now };
        let Some(header) = Header::read(frame.head()) else {
            return context.drop_frame(frame, DropReason::Protocol);
        };
        match header.ether_type {
            EtherType::Ipv4 if header.destination != mac => context.drop_frame(frame, DropReason::OtherHost),
            EtherType::Ipv4 => self.engine.inbound(now, frame, &mut context),
            EtherType::Arp => uplink_arp::answer(frame, mac, &mut context),
            EtherType::Other(_) => context.drop_frame(frame, DropReason::Protocol),
        }
    }

    /// Moves packets between the clients' rings and our pages. Returns the clients that broke the protocol.
    pub fn exchange_with_clients<X: Xen>(
        &mut self,
        xen: &mut X,
        now: Moment,
    ) -> Vec<(ClientSlot, netback::ClientBroken)> {
        let flow = self.uplink_flow(now);
        let mtu = self.engine.engine().mtu(Side::Uplink);
        let vifs = &mut self.egress.vifs;
        let netfront = vifs.uplink.as_mut().and_then(Uplink::netfront);
        let features = netfront.as_ref().map(|front| front.features());
        let segmentation = features.map_or(Support::Yes, Features::accept_unsegmented);
        let ahead = WayAhead { netfront, flow, way_out: EgressLimits { segmentation, mtu } };
        self.exchange.exchange(&mut vifs.clients, ahead, xen, now)
    }

    /// Judges what the clients sent, and passes on what may pass.
    pub fn judge_arrivals<X: Xen>(&mut self, xen: &mut X, now: Moment) {
        let mut collected = self.exchange.take_collected();
        for (slot, packet) in collected.drain(..) {
            let frame = match packet {
                Collected::Single(single) => self
                    .exchange
                    .arrived(single, xen.pages())
                    .and_then(|parcel| self.pass_from_client(slot, parcel, xen, now))
                    .and_then(|left| self.frame_of(slot, left, xen.pages()).ok()),
                Collected::Frame(frame) => Some(frame),
                Collected::Several(_) | Collected::Nothing => None,
            };
            // What is no frame was passed, or was given back.
            if let Some(frame) = frame {
                self.take_from_client(slot, frame, xen.pages(), now);
            }
        }
        self.exchange.put_back(collected);
    }

    /// A client's packet as a frame, on its account.
    pub(super) fn frame_of(
        &mut self,
        slot: ClientSlot,
        parcel: Parcel,
        pages: &mut PagePool,
    ) -> Result<Frame, NoFrame> {
        let Some(netback) = self.egress.vifs.clients.vif(slot).and_then(ClientVif::netback) else {
            parcel.release(pages);
            return Err(NoFrame::NoPage);
        };
        netback.keep(parcel, self.exchange.bounces(), pages)
    }

    /// One frame from a client.
    fn take_from_client(&mut self, slot: ClientSlot, mut frame: Frame, pages: &mut PagePool, now: Moment) {
        self.due = None;
        let mut context = EgressContext { egress: &mut self.egress, pages, now };
        let header = Header::read(frame.head());
        let (Some(header), Some(vif)) = (header, context.egress.vifs.clients.vif(slot)) else {
            return context.drop_frame(frame, DropReason::Protocol);
        };
        frame.charge_to(vif.account());
        match header.ether_type {
            EtherType::Ipv4 if header.destination != GATEWAY_MAC => {
                context.drop_frame(frame, DropReason::OtherHost)
            }
            EtherType::Ipv4 if vif.identity().mac() != Some(header.source) => {
                context.drop_frame(frame, DropReason::SpoofedMac);
            }
            // The IPv4 source is checked by the engine, which knows the client's address.
            EtherType::Ipv4 => self.engine.outbound(now, slot, frame, &mut context),
            EtherType::Arp => {
                let request = Arp::read(frame.head().get(HEADER_BYTES..).unwrap_or_default());
                let identity = vif.identity();
                let clients = self.engine.engine().clients();
                let attached = clients.on(slot).and_then(|number| clients.get(number));
                let address = attached.map(|client| client.visible.address).or(identity.address());
                let asker = Asker { mac: identity.mac(), address };
                let reply = request.and_then(|request| proxy_arp::answer(&request, asker, GATEWAY_MAC).ok());
                match reply {
                    Some(reply) => context.arp_to_client(slot, &reply),
                    None => context.egress.drops.count(DropReason::ArpUnanswered),
                }
                frame.release(context.pages);
            }
            EtherType::Other(_) => context.drop_frame(frame, DropReason::Protocol),
        }
    }

    /// Does what time has brought due in the engine and among the uplink's neighbours. While packets come without a pause, some
    /// of that is done a little late, so that it is not looked for in every pass.
    pub fn advance(&mut self, pages: &mut PagePool, now: Moment) {
        if now < self.rests_until.max(self.due.unwrap_or_default()) {
            return;
        }
        let mut context = EgressContext { egress: &mut self.egress, pages, now };
        self.engine.advance(now, &mut context);
        if self.names.deadline().is_some_and(|deadline| deadline <= now) {
            self.names.advance(&mut self.engine, &mut context, now);
        }
        context.with_neighbours(|neighbours, output| neighbours.advance(now, output));
        while let Some(frame) = context.egress.undeliverable.pop() {
            let sender = frame.account();
            self.engine.unreachable(now, frame, sender, &mut context);
        }
        self.due = None;
        self.rests_until = self.due().min(now + LATENESS);
    }

    /// When [`Self::advance`] has something to do. Looked up once: packets of open flows change nothing in it, and between them
    /// we may sleep very often.
    fn due(&mut self) -> Moment {
        if let Some(due) = self.due {
            debug_assert!(due <= self.look_up_due(), "something is due earlier, and nobody said so");
            return due;
        }
        *self.due.insert(self.look_up_due())
    }

    fn look_up_due(&self) -> Moment {
        let all = [self.engine.next_deadline(), self.egress.neighbours.deadline(), self.names.deadline()];
        all.into_iter().flatten().min().unwrap_or(Moment::END)
    }

    /// Something has happened that may be followed up at once.
    fn look_again(&mut self) {
        (self.rests_until, self.due) = (Moment::default(), None);
    }

    /// Says what time it is outside.
    pub fn set_wall_clock(&mut self, now: Moment, unix: UnixSeconds) {
        let review = self.engine.engine().next_review();
        self.engine.set_wall_clock(now, unix);
        if self.engine.engine().next_review() != review {
            self.due = None;
        }
    }

    /// Hands waiting frames to the uplink's backend.
    pub fn send_to_uplink<X: Xen>(&mut self, xen: &mut X) {
        if let Some(netfront) = self.egress.vifs.netfront() {
            netfront.transmit(xen);
            netfront.publish(xen);
        }
    }

    /// Whether clients are to wait for the uplink.
    fn uplink_flow(&mut self, now: Moment) -> Drain {
        let uplink = self.egress.vifs.uplink.as_mut();
        let (link, backlog, answered) = uplink.map_or((Link::Down, 0, 0), |uplink| {
            let link = uplink.link();
            let front = uplink.netfront();
            front.map_or((link, 0, 0), |front| (link, front.take_backlog(), front.answered()))
        });
        self.gate.look(link, backlog, answered, now)
    }

    /// Asks every ring to wake us; says whether all will. A broken one counts as not: the next pass deals with it.
    pub fn arm(&mut self, pages: &PagePool, now: Moment) -> Armed {
        let flow = self.uplink_flow(now);
        let vifs = &mut self.egress.vifs;
        let mut netfront = vifs.uplink.as_mut().and_then(Uplink::netfront);
        let clients = self.exchange.arm(&mut vifs.clients, &mut netfront, flow, pages, now);
        match netfront.map_or(Ok(Wakeup::Armed), |netfront| netfront.arm()) {
            Ok(Wakeup::Armed) => clients,
            _ => Armed::NotAll,
        }
    }

    /// When there is something to do without an event: to be asked before a sleep.
    pub fn deadline(&mut self, now: Moment) -> Option<Moment> {
        let due = self.due();
        self.rests_until = self.rests_until.min(due);
        let due = Some(due).filter(|due| *due != Moment::END);
        [due, self.gate.deadline(now), self.exchange.deadline()].into_iter().flatten().min()
    }
}

/// The servers that can be asked.
fn servers(route: Option<UplinkRoute>, resolvers: &Resolvers) -> &[Ipv4Addr] {
    if route.is_some() { resolvers } else { &[] }
}

/// What came of looking at the uplink's rings.
pub struct Received {
    /// Our Ethernet address there.
    pub mac: Mac,
    /// How the backend broke the protocol, if it did.
    pub broken: Option<netfront::UplinkBroken>,
}

impl Received {
    /// There are no rings.
    const NOTHING: Self = Self { mac: Mac([0; 6]), broken: None };
}

/// Whether the network on the uplink is the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UplinkNetwork {
    /// It is.
    Known,
    /// Our address, the gateway or the whole link may be another one: nothing is known of neighbours, and nobody knows us.
    New,
}

#[cfg(test)]
#[path = "dataplane_tests.rs"]
mod tests;
