//! A client host: a smoltcp stack with applications.

use crate::base::time::Moment;
use crate::sim::host::Host;
use crate::sim::host::apps::App;
use crate::sim::host::link::{Queues, instant, moment};
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

/// Addresses of a host.
#[derive(Clone, Debug)]
pub struct HostAddresses {
    /// Ethernet.
    pub mac: [u8; 6],
    /// IPv4, with prefix lengths; the first is the source of what it sends.
    pub addresses: Vec<(Ipv4Addr, u8)>,
    /// Its router, if it has one.
    pub gateway: Option<Ipv4Addr>,
}

/// Frames that are taken in before applications look at their sockets.
const FRAMES_AT_ONCE: usize = 8;

/// A host.
pub struct StackHost {
    interface: Interface,
    sockets: SocketSet<'static>,
    queues: Queues,
    apps: Vec<Box<dyn App>>,
    next: Option<Moment>,
    announces: bool,
}

impl StackHost {
    /// A host with nothing to do.
    ///
    /// # Panics
    /// If it has more addresses than smoltcp has room for.
    pub fn new(address: &HostAddresses, prng: &mut Prng, now: Moment) -> Self {
        let mut queues = Queues::default();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(address.mac)));
        config.random_seed = prng.bits();
        let mut interface = Interface::new(config, &mut queues, instant(now));
        interface.update_ip_addrs(|list| {
            for &(address, bits) in &address.addresses {
                list.push(IpCidr::new(address.into(), bits)).expect("room for the address");
            }
        });
        if let Some(gateway) = address.gateway {
            interface.routes_mut().add_default_ipv4_route(gateway).expect("room for a route");
        }
        let sockets = SocketSet::new(vec![]);
        Self { interface, sockets, queues, apps: Vec::new(), next: None, announces: true }
    }

    /// Adds an application, made with the host's sockets.
    pub fn run(&mut self, make: impl FnOnce(&mut SocketSet<'static>) -> Box<dyn App>) {
        let app = make(&mut self.sockets);
        self.apps.push(app);
    }

    /// Whether frames wait that it has room to answer.
    fn takes_more(&self) -> bool {
        !self.queues.arrived.is_empty() && self.queues.has_room()
    }

    /// Takes in as many frames as any socket has room for, so that none is lost here.
    fn take_in(&mut self, now: Moment) {
        for _ in 0..FRAMES_AT_ONCE {
            if !self.takes_more() {
                break;
            }
            self.interface.poll_ingress_single(instant(now), &mut self.queues, &mut self.sockets);
        }
    }

    /// Lets the applications do what is due; when the first of them is to be called again.
    fn drive(&mut self, now: Moment, ledger: &mut Ledger, prng: &mut Prng) -> Option<Moment> {
        let Self { apps, sockets, interface, .. } = self;
        apps.iter_mut().filter_map(|app| app.drive(sockets, interface, now, ledger, prng)).min()
    }
}

impl Host for StackHost {
    fn receive(&mut self, frame: Vec<u8>) {
        self.queues.arrived.push_back(frame);
    }

    fn poll(&mut self, now: Moment, ledger: &mut Ledger, prng: &mut Prng) {
        self.announces = false;
        let due = loop {
            self.take_in(now);
            let due = self.drive(now, ledger, prng);
            while self.interface.poll_egress(instant(now), &mut self.queues, &mut self.sockets)
                != PollResult::None
            {}
            if !self.takes_more() {
                break due;
            }
        };
        let stack = self.interface.poll_at(instant(now), &self.sockets).map(moment);
        self.next = due.into_iter().chain(stack).min();
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        self.queues.leaving.pop_front()
    }

    fn deadline(&mut self, now: Moment) -> Option<Moment> {
        if self.announces || self.takes_more() {
            return Some(now);
        }
        self.next
    }
}
