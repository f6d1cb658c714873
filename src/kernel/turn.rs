//! The order of a turn: a pass over everything that carries packets, a look at XenStore, and sleep.
//!
//! One pass: take up what has changed, take what the uplink received, take what the clients sent and what they can
//! receive, run every copy in one hypercall, judge what arrived, send, notify. When a pass finds nothing to do, ask every
//! ring to wake us and sleep.

use super::client_exchange::Armed;
use super::control::{ControlPlane, StoreWork};
use super::dataplane::DataPlane;
use super::egress::Egress;
use super::event::Event;
use super::qubesdb::QubesConnection;
use super::requests::Request;
use crate::base::time::Moment;
use crate::config::{ChangeQueue, Live};
use crate::engine::Engine;
use crate::store::{Store, StoreError, StoreRing};
use crate::vif::frame::Frame;
use crate::xen::event::Port;
use crate::xen::{Shutdown, Xen};
use alloc::vec::Vec;

/// The whole firewall.
pub struct Firewall<X: Xen, R: StoreRing> {
    pub(super) xen: X,
    /// When this turn began.
    now: Moment,
    /// The ports to sleep on: those of rings, then the others. None when they are to be listed anew.
    ports: Vec<Port>,
    /// How many of them are of rings.
    ring_ports: usize,
    pub(super) control: ControlPlane<R>,
    pub(super) data: DataPlane,
    pub(super) stats: LoopStats,
}

/// What the loop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LoopStats {
    pub(super) passes: u64,
    pub(super) sleeps: u64,
}

impl<X: Xen, R: StoreRing + 'static> Firewall<X, R> {
    /// Puts the parts together and sets the watches. `engine` is to be made of `live`'s settings and rules.
    /// `qubes` is the way to QubesDB, looked for with this `store`.
    ///
    /// # Errors
    /// Those of XenStore.
    pub fn new(
        xen: X,
        store: Store<R>,
        store_port: Port,
        live: Live,
        engine: Engine<Frame>,
        qubes: QubesConnection,
    ) -> Result<Self, StoreError> {
        let (route, resolvers) = (live.route(), live.resolvers().iter().copied().collect());
        let now = xen.now();
        Ok(Self {
            control: ControlPlane::new(store, store_port, live, qubes)?,
            data: DataPlane::new(engine, route, resolvers, now),
            now,
            xen,
            ports: Vec::new(),
            ring_ports: 0,
            stats: LoopStats::default(),
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

    /// One turn of the loop: a pass over the rings, a look at XenStore, and sleep if there was nothing to do. Returns a
    /// reason when the toolstack asks for the domain's end.
    pub fn turn(&mut self) -> Option<Shutdown> {
        let now = self.now;
        self.control.events.begin_turn(now);
        // Rules expire by the same clock as flows.
        self.data.set_wall_clock(now, self.xen.unix_time(now));
        self.pass(now);
        self.tell_names();
        let mut work = self.control.look(&mut self.xen, &mut self.data.egress.vifs, now);
        if work != StoreWork::None {
            self.ports.clear();
        }
        while let StoreWork::Requested(request) = work {
            match request {
                Request::End(reason) => return Some(reason),
                Request::Balance => self.report_balance(),
                Request::Report => self.report(),
                Request::Unknown(request) => self.control.events.note(Event::RequestRefused(request)),
            }
            // What was done before the request may have brought new ports to sleep on.
            work = match self.control.look(&mut self.xen, &mut self.data.egress.vifs, now) {
                StoreWork::None => StoreWork::Done,
                more => more,
            };
        }
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

    /// Changes what is configured. It is in effect from the next turn on.
    pub fn configure(&mut self, act: impl FnOnce(&mut Live, &mut ChangeQueue)) {
        act(&mut self.control.live, &mut self.control.changes);
    }

    /// What is configured.
    pub fn live(&self) -> &Live {
        &self.control.live
    }

    /// What happened in the last turn, to look at.
    pub fn events(&self) -> &[Event] {
        self.control.events.happened()
    }

    /// The hypervisor, to look at.
    pub fn hypervisor(&mut self) -> &mut X {
        &mut self.xen
    }

    /// The engine, to look at.
    pub fn engine(&self) -> &Engine<Frame> {
        &self.data.engine
    }

    /// The vifs, to look at.
    pub fn egress(&self) -> &Egress {
        &self.data.egress
    }

    /// One pass over everything that can carry packets.
    fn pass(&mut self, now: Moment) {
        self.stats.passes += 1;
        let Self { xen, control, data, .. } = self;
        if !control.changes.is_empty() {
            data.apply(control.take_changes(), xen.pages(), now);
        }
        // After everything that may have brought new ports.
        self.clear_events();

        let Self { xen, control, data, ports, .. } = self;
        let received = data.receive_from_uplink(xen);
        if let Some(why) = received.broken {
            ports.clear();
            control.break_uplink_off(why, xen, &mut data.egress.vifs, now);
        }
        data.judge_received(received.mac, xen.pages(), now);
        for (slot, why) in data.exchange_with_clients(xen, now) {
            ports.clear();
            control.break_client_off(slot, why, xen, &mut data.egress.vifs, now);
        }
        data.judge_arrivals(xen, now);
        data.advance(xen.pages(), now);
        while let Some((host, blocked)) = data.names.next_blocking() {
            control.events.note(Event::NameUnknown(host, blocked));
        }
        data.send_to_uplink(xen);
    }

    /// Tells QubesDB what names in the rules of clients stand for. Of clients that left for good nothing is told: what we write
    /// nobody takes away.
    fn tell_names(&mut self) {
        while let Some(host) = self.data.names.next_resolved() {
            let engine = self.data.engine.engine();
            let (rules, inside) = (engine.rules(), engine.inside());
            for client in inside.iter().filter(|client| rules.has_name(*client, &host)) {
                self.control.qubes.tell_name(client, host.text(), rules.names().of(&host).iter().copied());
            }
        }
    }

    /// Clears the pending bits of all rings: this pass finds what they announced, and what comes later sets them again.
    fn clear_events(&mut self) {
        if self.ports.is_empty() {
            self.list_ports();
        }
        debug_assert!(self.has_all_ports(), "a port has come or gone, and nobody said so");
        for &port in self.ports.iter().take(self.ring_ports) {
            self.xen.take_pending(port);
        }
    }

    /// Adds the ports that there are, in order.
    fn list_ports(&mut self) {
        self.data.list_ports(&mut self.ports);
        self.ring_ports = self.ports.len();
        self.ports.push(self.control.store_port);
        self.ports.extend(self.control.qubes.port());
    }

    /// Whether the ports to sleep on are those that there are.
    fn has_all_ports(&mut self) -> bool {
        let (count, ring_ports) = (self.ports.len(), self.ring_ports);
        self.list_ports();
        let is_same = self.ports.split_at_checked(count).is_some_and(|(listed, present)| listed == present);
        self.ports.truncate(count);
        self.ring_ports = ring_ports;
        is_same
    }

    /// Asks every ring to wake us. False if one has something already, or something is left for the next pass.
    fn may_sleep(&mut self, now: Moment) -> bool {
        let armed = self.data.arm(self.xen.pages(), now);
        // What a connection that was broken off has left to tell is for the next pass.
        armed == Armed::All && self.control.changes.is_empty()
    }

    fn deadline(&mut self) -> Option<Moment> {
        let control = self.control.deadline(&self.data.egress.vifs);
        control.into_iter().chain(self.data.deadline(self.now)).min()
    }
}
