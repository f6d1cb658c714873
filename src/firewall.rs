//! The kernel's loop: everything that happens, in the order in which it happens.
//!
//! One pass: look at XenStore, take what the uplink received, take what the clients sent and what they can
//! receive, run every copy in one hypercall, judge what arrived, send, notify. When a pass finds nothing to
//! do, ask every ring to wake us and sleep.

use crate::client::ClientSlot;
use crate::clients::{BACKENDS, Ownership, directory_or_empty};
use crate::control;
use crate::exits::{Exits, GATEWAY_MAC, Leaving, UplinkRoute};
use crate::journey::Journey;
use crate::packet::Datagram;
use crate::route::proxy_arp;
use crate::store::{Store, StoreError, StoreRing};
use crate::text::decimal;
use crate::time::Moment;
use crate::vif::drops::FrameDrop;
use crate::vif::frame::Frame;
use crate::vif::netback::COPIES_PER_PACKET;
use crate::vif::netfront;
use crate::vif::ring::{Notice, RING_SIZE, Wakeup};
use crate::vif::uplink::{self, Change, Presence, Uplink};
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::{EtherType, HEADER_BYTES, Header, Mac};
use crate::xen::copy::CopyBatch;
use crate::xen::event::Port;
use crate::xen::grant::GrantedPage;
use crate::xen::{Shutdown, Xen};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// Copies in one hypercall. Xen itself pauses longer batches to let others run.
const BATCH: usize = 16 * COPIES_PER_PACKET;

/// How long XenStore is left alone after a failure.
const STORE_REST: Duration = Duration::from_secs(1);

/// The watch on the toolstack's requests to the whole domain.
const CONTROL: &str = "control";
/// The watch on our own network devices.
const DEVICES: &str = "devices";
/// The watch on the uplink's backend.
const UPLINK: &str = "uplink";

/// The whole firewall.
pub struct Firewall<X: Xen, R: StoreRing> {
    xen: X,
    store: Store<R>,
    store_port: Port,
    journey: Journey<Frame>,
    exits: Exits,
    batch: CopyBatch,
    /// Frames that arrived from the uplink in this pass.
    received: Vec<Frame>,
    /// Frames that arrived from clients in this pass.
    arrived: Vec<(ClientSlot, Frame)>,
    /// Address changes to tell the journey.
    ownership: Vec<Ownership>,
    ports: Vec<Port>,
    /// Pages that the backend of an uplink that is gone still holds.
    kept: Vec<GrantedPage>,
    /// XenStore failed: it is left alone until then, and packets go on.
    store_rests_until: Moment,
}

/// Whether a pass found something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Done,
    None,
}

impl<X: Xen, R: StoreRing> Firewall<X, R> {
    /// Puts the parts together and sets the watches; devices that exist already announce themselves through
    /// them.
    pub fn new(
        xen: X,
        mut store: Store<R>,
        store_port: Port,
        journey: Journey<Frame>,
        exits: Exits,
    ) -> Result<Self, StoreError> {
        control::announce(&mut store)?;
        store.watch(control::SHUTDOWN, CONTROL)?;
        store.watch(BACKENDS, BACKENDS)?;
        store.watch(uplink::DEVICES, DEVICES)?;
        Ok(Self {
            xen,
            store,
            store_port,
            journey,
            exits,
            batch: CopyBatch::with_capacity(BATCH),
            received: Vec::with_capacity(RING_SIZE as usize),
            arrived: Vec::with_capacity(BATCH),
            ownership: Vec::new(),
            ports: Vec::new(),
            kept: Vec::new(),
            store_rests_until: Moment::default(),
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

    /// One turn of the loop: looks at XenStore and passes over the rings, and sleeps if there was nothing to
    /// do. Says when the toolstack asks for the end.
    pub fn turn(&mut self) -> Option<Shutdown> {
        if let Some(reason) = self.look_at_store() {
            return Some(reason);
        }
        if self.pass() == Work::None && self.may_sleep() {
            let until = self.deadline();
            self.xen.wait(&self.ports, until);
            self.journey.set_wall_clock(self.xen.now(), self.xen.unix_time());
        }
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
    pub fn exits(&self) -> &Exits {
        &self.exits
    }

    /// Handles every watch event that waits.
    fn look_at_store(&mut self) -> Option<Shutdown> {
        if self.xen.take_pending(self.store_port) {
            let polled = self.store.poll().map(drop);
            self.note(polled);
        }
        while let Some(event) = self.store.next_event() {
            let (xen, store, ownership) = (&mut self.xen, &mut self.store, &mut self.ownership);
            let handled = match event.token.as_str() {
                CONTROL => match control::take_request(store) {
                    Ok(Some(reason)) => return Some(reason),
                    other => other.map(drop),
                },
                BACKENDS => self.exits.clients.backend_changed(&event.path, xen, store, ownership),
                DEVICES => self.find_uplink(),
                UPLINK => self.uplink_changed(),
                token => self.exits.clients.frontend_changed(token, xen, store, ownership),
            };
            self.note(handled);
        }
        None
    }

    /// Reports a failure of XenStore and leaves it alone for a while.
    fn note(&mut self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            log::error!("XenStore: {error}");
            self.store_rests_until = self.xen.now() + STORE_REST;
        }
    }

    /// One round over everything that can carry packets.
    fn pass(&mut self) -> Work {
        let now = self.xen.now();
        self.clear_events();
        if now >= self.store_rests_until {
            let advanced = self.exits.clients.advance(&mut self.xen, &mut self.store, &mut self.ownership);
            self.note(advanced);
        }
        self.tell_ownership(now);

        let received = self.receive_from_uplink(now);
        let exchanged = self.exchange_with_clients();
        self.judge_arrivals(now);
        let mut leaving = Leaving { exits: &mut self.exits, pages: self.xen.pages(), now };
        self.journey.advance(now, &mut leaving);
        leaving.with_neighbours(|neighbours, emit| neighbours.advance(now, emit));
        self.send_to_uplink();
        if received == Work::None && exchanged == Work::None { Work::None } else { Work::Done }
    }

    /// Forgets the events that announced what this pass is about to find: what comes later announces itself
    /// again. Lists the ports to sleep on.
    fn clear_events(&mut self) {
        self.ports.clear();
        self.ports.extend(self.exits.uplink.as_mut().and_then(Uplink::netfront).map(|front| front.port()));
        self.ports.extend(self.exits.clients.rings().map(|(_, netback)| netback.port()));
        for &port in &self.ports {
            self.xen.take_pending(port);
        }
        self.ports.push(self.store_port);
    }

    /// Passes on what the uplink received.
    fn receive_from_uplink(&mut self, now: Moment) -> Work {
        let Some(device) = self.exits.uplink.as_mut() else { return Work::None };
        let mac = device.mac();
        let Some(netfront) = device.netfront() else { return Work::None };
        let mut frames = core::mem::take(&mut self.received);
        let reaped = netfront.reap(&mut self.xen);
        let result =
            reaped.and_then(|()| netfront.receive(&mut self.xen, &mut |frame, _| frames.push(frame)));
        if let Err(broken) = result {
            log::error!("uplink: its backend broke the protocol ({broken}): connection ended");
            let broken_off = device.break_off(&mut self.xen, &mut self.store);
            self.note(broken_off);
        }
        let work = if frames.is_empty() { Work::None } else { Work::Done };
        for frame in frames.drain(..) {
            self.from_uplink(frame, mac, now);
        }
        self.received = frames;
        work
    }

    /// One frame from the uplink.
    fn from_uplink(&mut self, mut frame: Frame, mac: Mac, now: Moment) {
        let mut leaving = Leaving { exits: &mut self.exits, pages: self.xen.pages(), now };
        let Some(header) = Header::read(frame.head()) else {
            return leaving.drop_frame(frame, FrameDrop::Protocol);
        };
        match header.ether_type {
            EtherType::Ipv4 if header.destination != mac => leaving.drop_frame(frame, FrameDrop::NotForUs),
            EtherType::Ipv4
                if source(&mut frame).is_some_and(|source| leaving.exits.clients.owns(source)) =>
            {
                leaving.drop_frame(frame, FrameDrop::SpoofedUplink);
            }
            EtherType::Ipv4 => self.journey.inbound(now, frame, &mut leaving),
            EtherType::Arp => arp_from_uplink(frame, mac, &mut leaving),
            EtherType::Other(_) => leaving.drop_frame(frame, FrameDrop::Protocol),
        }
    }

    /// Moves packets between the clients' rings and our pages, in one batch of copies.
    fn exchange_with_clients(&mut self) -> Work {
        let mut broken = Vec::new();
        for (slot, netback) in self.exits.clients.rings() {
            let moved = netback.deliver(&mut self.batch);
            let moved = moved.and_then(|()| netback.collect(&mut self.batch, self.xen.pages()));
            if let Err(why) = moved {
                broken.push((slot, why));
            }
        }
        let work = if self.batch.waiting() > 0 { Work::Done } else { Work::None };
        if work == Work::Done {
            self.xen.copy(&mut self.batch);
        }
        let arrived = &mut self.arrived;
        for (slot, netback) in self.exits.clients.rings() {
            let notice =
                netback.settle(&self.batch, self.xen.pages(), &mut |frame, _| arrived.push((slot, frame)));
            if notice == Notice::Needed {
                self.xen.notify(netback.port());
            }
        }
        for (slot, why) in broken {
            if let Some(vif) = self.exits.clients.vif(slot) {
                log::warn!("{}: broke the protocol ({why}): connection ended", vif.id());
            }
            let (xen, store) = (&mut self.xen, &mut self.store);
            let broken_off = self.exits.clients.break_off(slot, xen, store, &mut self.ownership);
            self.note(broken_off);
        }
        work
    }

    /// Judges what the clients sent, and passes on what may pass.
    fn judge_arrivals(&mut self, now: Moment) {
        let mut arrived = core::mem::take(&mut self.arrived);
        for (slot, frame) in arrived.drain(..) {
            self.from_client(slot, frame, now);
        }
        self.arrived = arrived;
    }

    /// One frame from a client.
    fn from_client(&mut self, slot: ClientSlot, mut frame: Frame, now: Moment) {
        let mut leaving = Leaving { exits: &mut self.exits, pages: self.xen.pages(), now };
        let header = Header::read(frame.head());
        let (Some(header), Some(vif)) = (header, leaving.exits.clients.vif(slot)) else {
            return leaving.drop_frame(frame, FrameDrop::Protocol);
        };
        match header.ether_type {
            EtherType::Ipv4 if header.destination != GATEWAY_MAC => {
                leaving.drop_frame(frame, FrameDrop::NotForUs)
            }
            EtherType::Ipv4 => {
                let source = source(&mut frame);
                match source.map(|source| vif.identity().check(header.source, source)) {
                    Some(Ok(())) => self.journey.outbound(now, slot, frame, &mut leaving),
                    Some(Err(spoof)) => leaving.drop_frame(frame, spoof.into()),
                    None => leaving.drop_frame(frame, FrameDrop::Protocol),
                }
            }
            EtherType::Arp => {
                let request = Arp::read(frame.head().get(HEADER_BYTES..).unwrap_or_default());
                let reply =
                    request.and_then(|request| proxy_arp::answer(&request, vif.identity(), GATEWAY_MAC).ok());
                match reply {
                    Some(reply) => leaving.arp_to_client(slot, &reply),
                    None => leaving.exits.drops.count(FrameDrop::ArpUnanswered),
                }
                frame.release(leaving.pages);
            }
            EtherType::Other(_) => leaving.drop_frame(frame, FrameDrop::Protocol),
        }
    }

    /// Hands waiting frames to the uplink's backend.
    fn send_to_uplink(&mut self) {
        if let Some(netfront) = self.exits.uplink.as_mut().and_then(Uplink::netfront) {
            netfront.transmit(&mut self.xen);
            if netfront.publish() == Notice::Needed {
                self.xen.notify(netfront.port());
            }
        }
    }

    /// Asks every ring to wake us; whether none has something already. A broken one counts as having: the
    /// next pass deals with it.
    fn may_sleep(&mut self) -> bool {
        let armed = self.exits.clients.rings().map(|(_, netback)| netback.arm() == Ok(Wakeup::Armed));
        // Every ring is armed, whatever the others say.
        let clients = armed.fold(true, |quiet, armed| quiet & armed);
        let uplink = self.exits.uplink.as_mut().and_then(Uplink::netfront);
        clients & uplink.is_none_or(|netfront| netfront.arm() == Ok(Wakeup::Armed))
    }

    fn deadline(&self) -> Option<Moment> {
        let clients = self.exits.clients.deadline().map(|due| due.max(self.store_rests_until));
        let deadlines = [self.journey.next_deadline(), self.exits.neighbours.deadline(), clients];
        deadlines.into_iter().flatten().min()
    }

    /// Tells the journey which addresses came and went.
    fn tell_ownership(&mut self, now: Moment) {
        for change in self.ownership.drain(..) {
            match change {
                Ownership::Gained(slot, address) => self.journey.attach(slot, address, now),
                Ownership::Lost(slot) => self.journey.detach(slot, now),
            }
        }
    }
}

/// The uplink's life.
impl<X: Xen, R: StoreRing> Firewall<X, R> {
    /// Takes the first network device that there is, when there is none yet.
    fn find_uplink(&mut self) -> Result<(), StoreError> {
        self.uplink_changed()?;
        for granted in core::mem::take(&mut self.kept) {
            netfront::end(&mut self.xen, granted, &mut self.kept);
        }
        let mut devices: Vec<u32> = directory_or_empty(&mut self.store, uplink::DEVICES)?
            .iter()
            .filter_map(|name| decimal(name))
            .collect();
        devices.sort_unstable();
        let ours = self.exits.uplink.as_ref().map(Uplink::path);
        let Some(&first) = devices.first() else { return Ok(()) };
        if ours.is_none() {
            match Uplink::discover(first, UPLINK, &mut self.store) {
                Ok(device) => {
                    log::info!("uplink: device {first}, our address there is {}", device.mac());
                    self.exits.uplink = Some(device);
                }
                // It went away, or is still being made: another event will tell.
                Err(StoreError::NoEntry) => return Ok(()),
                Err(error) => return Err(error),
            }
            for other in devices.iter().skip(1) {
                log::warn!("uplink: device {other} is not used; the first one is");
            }
        }
        self.uplink_changed()
    }

    /// Follows the uplink's backend.
    fn uplink_changed(&mut self) -> Result<(), StoreError> {
        let Some(device) = self.exits.uplink.as_mut() else { return Ok(()) };
        if device.refresh(&mut self.store)? == Presence::Gone {
            log::warn!("uplink: the device was removed");
            if let Some(device) = self.exits.uplink.take() {
                self.kept.extend(device.forget(&mut self.xen, &mut self.store));
            }
            return Ok(());
        }
        let change = device.advance(&mut self.xen, &mut self.store)?;
        let now = self.xen.now();
        let mut leaving = Leaving { exits: &mut self.exits, pages: self.xen.pages(), now };
        match change {
            Change::Up => {
                log::info!("uplink: connected");
                leaving.with_neighbours(|neighbours, emit| neighbours.clear(emit));
                leaving.announce_address();
            }
            Change::Down => log::warn!("uplink: disconnected"),
            Change::None => {}
        }
        Ok(())
    }
}

/// ARP from the uplink: questions for our address are answered, answers to our questions are learned.
fn arp_from_uplink(frame: Frame, mac: Mac, leaving: &mut Leaving<'_>) {
    let arp = Arp::read(frame.head().get(HEADER_BYTES..).unwrap_or_default());
    frame.release(leaving.pages);
    let now = leaving.now;
    match (arp, leaving.exits.route) {
        (Some(arp), Some(UplinkRoute { address, .. }))
            if arp.operation == Operation::Request && arp.target == address.address() =>
        {
            leaving.arp(&arp.answer(mac), arp.sender_mac);
        }
        (Some(arp), Some(_)) if arp.operation == Operation::Reply => {
            leaving
                .with_neighbours(|neighbours, emit| neighbours.learn(arp.sender, arp.sender_mac, now, emit));
        }
        _ => leaving.exits.drops.count(FrameDrop::ArpUnanswered),
    }
}

/// The IPv4 source address, if the packet is long enough to have one.
fn source(frame: &mut Frame) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = frame.header().get(12..16)?.try_into().ok()?;
    Some(octets.into())
}
