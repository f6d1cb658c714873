//! The kernel's loop: everything that happens, in the order in which it happens.
//!
//! One pass: look at XenStore, take what the uplink received, take what the clients sent and what they can
//! receive, run every copy in one hypercall, judge what arrived, send, notify. When a pass finds nothing to
//! do, ask every ring to wake us and sleep.

use super::client_vifs::BACKENDS;
use super::control::{Inquiries, ShutdownRequested, StoreWork};
use super::egress::{Egress, EgressContext, GATEWAY_MAC};
use super::ownership::Ownership;
use super::store_silence::StoreSilence;
use super::{requests, uplink_device};
use crate::client::{ClientSlot, Side};
use crate::flow::share::Account;
use crate::journey::Journey;
use crate::packet::Datagram;
use crate::prefix::Ipv4Prefix;
use crate::route::proxy_arp;
use crate::store::{Store, StoreError, StoreRing};
use crate::time::Moment;
use crate::vif::abilities::{Abilities, Support};
use crate::vif::attention::Attention;
use crate::vif::drops::FrameDrop;
use crate::vif::frame::{CannotSegment, Frame};
use crate::vif::held::HeldPages;
use crate::vif::in_flight::InFlight;
use crate::vif::intake::{Flow, Gate, Intake, WayOut};
use crate::vif::lifecycle::frontend::Link;
use crate::vif::netback::{COPIES_PER_PACKET, Netback};
use crate::vif::netfront::Netfront;
use crate::vif::ring::{RING_SIZE, Wakeup};
use crate::vif::uplink::{self, Uplink};
use crate::wire::arp::Arp;
use crate::wire::ethernet::{EtherType, HEADER_BYTES, Header, Mac};
use crate::xen::copy::CopyBatch;
use crate::xen::event::Port;
use crate::xen::page::PagePool;
use crate::xen::{Shutdown, Xen};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// Copies in one hypercall: a ring of buffers and as much again. Xen itself pauses long batches to let others run.
const BATCH: usize = 2 * RING_SIZE as usize;

/// The watch on the toolstack's requests to the whole domain.
pub(super) const CONTROL: &str = "control";
/// The watch on our own network devices.
pub(super) const DEVICES: &str = "devices";
/// The watch on the uplink's backend.
pub(super) const UPLINK: &str = "uplink";

/// The whole firewall.
pub struct Firewall<X: Xen, R: StoreRing> {
    pub(super) xen: X,
    /// When this turn began.
    pub(super) now: Moment,
    pub(super) store: Store<R>,
    pub(super) store_port: Port,
    pub(super) journey: Journey<Frame>,
    pub(super) egress: Egress,
    pub(super) batch: CopyBatch,
    pub(super) in_flight: InFlight,
    /// Frames that arrived from the uplink in this pass.
    pub(super) received: Vec<Frame>,
    /// Frames that arrived from clients in this pass.
    pub(super) arrived: Vec<(ClientSlot, Frame)>,
    pub(super) ports: Vec<Port>,
    /// The client slot whose turn is first in the next round.
    pub(super) first: usize,
    pub(super) gate: Gate,
    /// When a client that sent as much as it may is served again.
    pub(super) replenished: Option<Moment>,
    /// Pages that backends of the uplink have not let go yet.
    pub(super) held: HeldPages,
    /// Our address on the uplink, where the toolstack gives the device none.
    pub(super) configured_address: Option<Ipv4Prefix>,
    /// Network devices beside the uplink that were reported as not used.
    pub(super) unused_devices: Vec<u32>,
    pub(super) stats: LoopStats,
    /// What is asked of XenStore beside the devices.
    pub(super) inquiries: Inquiries,
    /// What each client has left of our attention.
    pub(super) attention: Attention,
    pub(super) silence: StoreSilence,
}

/// What the loop did, to see how well it batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LoopStats {
    pub(super) passes: u64,
    pub(super) sleeps: u64,
    pub(super) batches: u64,
    pub(super) copies: u64,
}

impl<X: Xen, R: StoreRing + 'static> Firewall<X, R> {
    /// Puts the parts together and sets the watches; devices that exist already announce themselves through
    /// them.
    pub fn new(
        xen: X,
        store: Store<R>,
        store_port: Port,
        journey: Journey<Frame>,
        egress: Egress,
    ) -> Result<Self, StoreError> {
        // There are no packets yet: the only time that XenStore is waited for.
        store.wait_for(async {
            requests::announce(&store).await?;
            store.watch(requests::REQUESTS, CONTROL).await?;
            store.watch(BACKENDS, BACKENDS).await?;
            store.watch(uplink::DEVICES, DEVICES).await
        })?;
        Ok(Self {
            configured_address: egress.route.map(|route| route.address),
            now: xen.now(),
            xen,
            store,
            store_port,
            journey,
            egress,
            batch: CopyBatch::with_capacity(BATCH),
            in_flight: InFlight::with_capacity(BATCH),
            received: Vec::with_capacity(RING_SIZE as usize),
            arrived: Vec::with_capacity(BATCH),
            ports: Vec::new(),
            first: 0,
            gate: Gate::default(),
            replenished: None,
            held: HeldPages::default(),
            unused_devices: Vec::new(),
            stats: LoopStats::default(),
            inquiries: Inquiries::default(),
            attention: Attention::default(),
            silence: StoreSilence::default(),
        })
    }

    /// Forwards packets until the toolstack asks for the end.
    pub fn run(&mut self) -> Shutdown {
        loop {
            if let Some(reason) = self.turn() {
                return reason;
            }
        }
    }

    /// One turn of the loop: a round over the rings, a look at XenStore, and sleep if there was nothing to do.
    /// Says when the toolstack asks for the end.
    pub fn turn(&mut self) -> Option<Shutdown> {
        let now = self.now;
        // Rules expire by the same clock as flows.
        self.journey.set_wall_clock(now, self.xen.unix_time(now));
        self.pass(now);
        let work = match self.look_at_store() {
            Ok(work) => work,
            Err(ShutdownRequested(reason)) => return Some(reason),
        };
        // Arming the rings is a look at them, too: no need for a pass that finds nothing.
        let later = if work == StoreWork::None && self.may_sleep(now) {
            self.stats.sleeps += 1;
            let until = self.deadline();
            self.xen.wait(&self.ports, until)
        } else {
            self.xen.send_notices();
            self.xen.now()
        };
        self.now = later.max(now);
        None
    }

    /// The hypervisor, to look at.
    pub fn hypervisor(&mut self) -> &mut X {
        &mut self.xen
    }

    /// The engine, to look at.
    pub fn journey(&self) -> &Journey<Frame> {
        &self.journey
    }

    /// The vifs, to look at.
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// One round over everything that can carry packets.
    fn pass(&mut self, now: Moment) {
        self.stats.passes += 1;
        self.tell_ownership(now);
        // After the steps that bring new ports.
        self.clear_events();

        self.receive_from_uplink(now);
        self.exchange_with_clients(now);
        self.judge_arrivals(now);
        let mut context = EgressContext { egress: &mut self.egress, pages: self.xen.pages(), now };
        self.journey.advance(now, &mut context);
        context.with_neighbours(|neighbours, output| neighbours.advance(now, output));
        while let Some(frame) = context.egress.undeliverable.pop() {
            self.journey.unreachable(now, frame, &mut context);
        }
        self.send_to_uplink();
    }

    /// Forgets the events that announced what this pass is about to find: what comes later announces itself
    /// again. Lists the ports to sleep on.
    fn clear_events(&mut self) {
        self.ports.clear();
        if let Some(netfront) = self.egress.uplink.as_mut().and_then(Uplink::netfront) {
            self.ports.extend(netfront.channels().ports());
        }
        self.ports.extend(self.egress.clients.rings().flat_map(|(_, netback)| netback.channels().ports()));
        for &port in &self.ports {
            self.xen.take_pending(port);
        }
        self.ports.push(self.store_port);
    }

    /// Passes on what the uplink received.
    fn receive_from_uplink(&mut self, now: Moment) {
        let Some(device) = self.egress.uplink.as_mut() else { return };
        let mac = device.mac();
        let Some(netfront) = device.netfront() else { return };
        let mut frames = core::mem::take(&mut self.received);
        let reaped = netfront.reap(&mut self.xen);
        let result =
            reaped.and_then(|()| netfront.receive(&mut self.xen, &mut |frame, _| frames.push(frame)));
        if let Err(broken) = result {
            log::error!("uplink: its backend broke the protocol ({broken}): connection ended");
            self.break_uplink_off();
        }
        for frame in frames.drain(..) {
            self.take_from_uplink(frame, mac, now);
        }
        self.received = frames;
    }

    /// One frame from the uplink.
    fn take_from_uplink(&mut self, mut frame: Frame, mac: Mac, now: Moment) {
        let mut context = EgressContext { egress: &mut self.egress, pages: self.xen.pages(), now };
        let Some(header) = Header::read(frame.head()) else {
            return context.drop_frame(frame, FrameDrop::Protocol);
        };
        match header.ether_type {
            EtherType::Ipv4 if header.destination != mac => context.drop_frame(frame, FrameDrop::NotForUs),
            EtherType::Ipv4
                if source(&mut frame).is_some_and(|source| context.egress.clients.owns(source)) =>
            {
                context.drop_frame(frame, FrameDrop::SpoofedUplink);
            }
            EtherType::Ipv4 => match frame.settle_segmentation() {
                Ok(()) => self.journey.inbound(now, frame, &mut context),
                Err(CannotSegment) => context.drop_frame(frame, FrameDrop::Segmentation),
            },
            EtherType::Arp => uplink_device::answer_arp(frame, mac, &mut context),
            EtherType::Other(_) => context.drop_frame(frame, FrameDrop::Protocol),
        }
    }

    /// Moves packets between the clients' rings and our pages, in one batch of copies.
    fn exchange_with_clients(&mut self, now: Moment) {
        let mut broken = Vec::new();
        let flow = self.uplink_flow(now);
        let first = self.first;
        let Egress { clients, uplink, .. } = &mut self.egress;
        let mut uplink = uplink.as_mut().and_then(Uplink::netfront);
        let abilities = uplink.as_ref().map(|front| front.abilities());
        let way_out = WayOut {
            segmentation: abilities.map_or(Support::Yes, Abilities::take_unsegmented),
            mtu: self.journey.engine().mtu(Side::Uplink),
        };
        // Who found no room in the batch, and who comes behind the first.
        let (mut turned_away, mut second) = (None, None);
        for (place, (slot, account, netback)) in clients.rings_from(first).enumerate() {
            let (batch, in_flight, pages) = (&mut self.batch, &mut self.in_flight, self.xen.pages());
            if place == 1 {
                second = Some(slot);
            }
            if batch.room() < COPIES_PER_PACKET {
                turned_away = turned_away.or(Some(slot));
            }
            let intake =
                netback.intake(Intake::of(flow, uplink_room(&mut uplink, account, netback, pages)), now);
            let delivered = netback.deliver(batch, in_flight, pages, now);
            if let Err(why) =
                delivered.and_then(|()| netback.collect(batch, in_flight, pages, intake.slots(), way_out))
            {
                broken.push((slot, why));
            }
        }
        // Whoever found the batch full begins the next round, or else the turn goes on to the next who is there.
        self.first = turned_away.or(second).map_or(0, |slot| slot.0.into());
        if self.batch.waiting() > 0 {
            self.stats.batches += 1;
            self.stats.copies += self.batch.waiting() as u64;
            self.xen.copy(&mut self.batch);
        }
        let arrived = &mut self.arrived;
        for (slot, _, netback) in self.egress.clients.rings_from(first) {
            let (batch, in_flight) = (&self.batch, &mut self.in_flight);
            netback.settle(batch, in_flight, &mut self.xen, |frame| arrived.push((slot, frame)));
        }
        for (slot, why) in broken {
            let failed = self.with_clients(|clients, world| clients.break_off(slot, why, world));
            self.note(failed);
        }
    }

    /// Judges what the clients sent, and passes on what may pass.
    fn judge_arrivals(&mut self, now: Moment) {
        let mut arrived = core::mem::take(&mut self.arrived);
        for (slot, frame) in arrived.drain(..) {
            self.take_from_client(slot, frame, now);
        }
        self.arrived = arrived;
    }

    /// One frame from a client.
    fn take_from_client(&mut self, slot: ClientSlot, mut frame: Frame, now: Moment) {
        let mut context = EgressContext { egress: &mut self.egress, pages: self.xen.pages(), now };
        let header = Header::read(frame.head());
        let (Some(header), Some(vif)) = (header, context.egress.clients.vif(slot)) else {
            return context.drop_frame(frame, FrameDrop::Protocol);
        };
        frame.charge_to(vif.account());
        match header.ether_type {
            EtherType::Ipv4 if header.destination != GATEWAY_MAC => {
                context.drop_frame(frame, FrameDrop::NotForUs)
            }
            EtherType::Ipv4 => {
                let source = source(&mut frame);
                let checked = source.map(|source| vif.identity().check(header.source, source));
                match (checked, frame.settle_segmentation()) {
                    (Some(Ok(())), Ok(())) => self.journey.outbound(now, slot, frame, &mut context),
                    (Some(Ok(())), Err(CannotSegment)) => context.drop_frame(frame, FrameDrop::Segmentation),
                    (Some(Err(spoof)), _) => context.drop_frame(frame, spoof.into()),
                    (None, _) => context.drop_frame(frame, FrameDrop::Protocol),
                }
            }
            EtherType::Arp => {
                let request = Arp::read(frame.head().get(HEADER_BYTES..).unwrap_or_default());
                let reply =
                    request.and_then(|request| proxy_arp::answer(&request, vif.identity(), GATEWAY_MAC).ok());
                match reply {
                    Some(reply) => context.arp_to_client(slot, &reply),
                    None => context.egress.drops.count(FrameDrop::ArpUnanswered),
                }
                frame.release(context.pages);
            }
            EtherType::Other(_) => context.drop_frame(frame, FrameDrop::Protocol),
        }
    }

    /// Hands waiting frames to the uplink's backend.
    fn send_to_uplink(&mut self) {
        if let Some(netfront) = self.egress.uplink.as_mut().and_then(Uplink::netfront) {
            netfront.transmit(&mut self.xen);
            netfront.publish(&mut self.xen);
        }
    }

    /// Whether clients are to wait for the uplink.
    fn uplink_flow(&mut self, now: Moment) -> Flow {
        let uplink = self.egress.uplink.as_mut();
        let (link, backlog, answered) = uplink.map_or((Link::Down, 0, 0), |uplink| {
            let link = uplink.link();
            let front = uplink.netfront();
            front.map_or((link, 0, 0), |front| (link, front.take_backlog(), front.answered()))
        });
        self.gate.look(link, backlog, answered, now)
    }

    /// Asks every ring to wake us; whether none has something already. A broken one counts as having: the
    /// next pass deals with it.
    fn may_sleep(&mut self, now: Moment) -> bool {
        let flow = self.uplink_flow(now);
        let Egress { clients, uplink, .. } = &mut self.egress;
        let mut uplink = uplink.as_mut().and_then(Uplink::netfront);
        self.replenished = None;
        let mut quiet = true;
        for (_, account, netback) in clients.rings_from(0) {
            let room = uplink_room(&mut uplink, account, netback, self.xen.pages());
            let intake = netback.intake(Intake::of(flow, room), now);
            // Every ring is armed, whatever the others say.
            quiet &= netback.arm(intake) == Ok(Wakeup::Armed);
            self.replenished = self.replenished.into_iter().chain(netback.deadline()).min();
        }
        // What a connection that was broken off has left to tell is for the next pass.
        !clients.has_changes()
            & quiet
            & uplink.as_mut().is_none_or(|netfront| netfront.arm() == Ok(Wakeup::Armed))
    }

    fn deadline(&self) -> Option<Moment> {
        let devices = self.control_deadline();
        let gate = self.gate.deadline(self.now);
        let neighbours = self.egress.neighbours.deadline();
        let deadlines = [self.journey.next_deadline(), neighbours, devices, gate, self.replenished];
        deadlines.into_iter().flatten().min()
    }

    /// Tells the journey which addresses came and went.
    fn tell_ownership(&mut self, now: Moment) {
        for change in self.egress.clients.take_changes() {
            match change {
                Ownership::Gained(slot, address) => {
                    let account = self.journey.attach(slot, address, now);
                    let Some(vif) = self.egress.clients.vif(slot) else { continue };
                    // Both as long as it is attached.
                    vif.charge_to(account.unwrap_or(Account::UPLINK));
                    if let Some(mtu) = vif.directory().words().mtu() {
                        self.journey.set_mtu(Side::Client(slot), mtu);
                    }
                }
                Ownership::Lost(slot) => {
                    self.journey.detach(slot, now);
                    if let Some(vif) = self.egress.clients.vif(slot) {
                        vif.charge_to(Account::UPLINK);
                    }
                }
            }
        }
    }
}

/// Slots that may be taken from a client as far as the uplink is concerned.
fn uplink_room(
    uplink: &mut Option<&mut Netfront>,
    account: Account,
    client: &Netback,
    pages: &PagePool,
) -> usize {
    let room =
        |front: &mut Netfront| front.room(account, client.charges().sent(), client.usual_slots(), pages);
    uplink.as_deref_mut().map_or(0, room)
}

/// The IPv4 source address, if the packet is long enough to have one.
fn source(frame: &mut Frame) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = frame.header().get(12..16)?.try_into().ok()?;
    Some(octets.into())
}
