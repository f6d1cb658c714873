//! The kernel's doors to the simulated machine: [`SimXen`] is the hypervisor, [`SimRing`] the way to xenstored.

use crate::base::time::{Moment, UnixSeconds};
use crate::sim::cast::{KERNEL, STORE, UPLINK};
use crate::sim::machine::world::{SharedWorld, WaitFor, World};
use crate::sim::machine::{GRANT_FRAMES, Machine};
use crate::sim::oracle::marks::POISON;
use crate::store::{RingStatus, StoreRing, Timeout};
use crate::xen::copy::CopyBatch;
use crate::xen::event::{self, Notifications, Port, RemotePort};
use crate::xen::grant::{Access, GrantTable, GrantedPage, Gref};
use crate::xen::host::HostFrame;
use crate::xen::meter::{Payer, charge};
use crate::xen::page::{Page, SharedPage};
use crate::xen::page_pool::PagePool;
use crate::xen::store_ring::StoreBytes;
use crate::xen::{DomainId, FrameNumber, Holdings, MappedPage, Shutdown, Xen, XenError, touch};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefMut;
use core::ops::Range;
use core::time::Duration;

/// How long xenstored may take to answer, as on the metal.
const PATIENCE: Duration = Duration::from_secs(30);

/// The hypervisor below the kernel.
pub struct SimXen {
    world: SharedWorld,
    grants: GrantTable,
    pages: PagePool,
    shared_info: SharedPage,
    notices: Notifications,
    entropy: [u8; 32],
}

/// What the kernel boots with.
pub struct KernelBoot {
    /// The hypervisor.
    pub xen: SimXen,
    /// The way to xenstored.
    pub store: SimRing,
    /// The daemon's side of it: ring and port.
    pub store_ring: (HostFrame, u32),
}

impl SimXen {
    /// Builds the kernel's domain in `world`, with `pages` for packets.
    ///
    /// # Panics
    /// If the machine has too little memory.
    pub fn boot(world: &SharedWorld, pages: usize) -> KernelBoot {
        let mut borrowed = world.borrow_mut();
        let machine = &mut borrowed.machine;
        machine.create(KERNEL);
        let info = machine.take_frame();
        machine.memory.fill(info, 0, 4096, 0);
        let shared = |machine: &Machine, frame| machine.memory.shared(frame).expect("a frame just taken");
        let (ours, hypervisors) = (shared(machine, info), shared(machine, info));
        machine.channels.share(KERNEL, hypervisors);
        let mut pool = PagePool::with_capacity(pages);
        for _ in 0..pages {
            let frame = machine.take_frame();
            machine.memory.fill(frame, 0, 4096, POISON);
            pool.add(machine.memory.give(frame).expect("never given before"));
        }
        let table: Vec<HostFrame> =
            machine.domains.get(&KERNEL).map(|domain| domain.table.clone()).unwrap_or_default();
        debug_assert_eq!(table.len() as u32, GRANT_FRAMES);
        let table = table.into_iter().map(|frame| shared(machine, frame)).collect();
        let ring = machine.take_frame();
        machine.memory.fill(ring, 0, 4096, 0);
        // Indices run freely and need not start at zero.
        let start = machine.prng.bits() as u32;
        for offset in [2048, 2052, 2056, 2060] {
            machine.memory.set_word(ring, offset, start);
        }
        let daemon_port = machine.channels.allocate(STORE, KERNEL).expect("a free port");
        let port = machine.channels.bind(KERNEL, STORE, daemon_port).expect("just allocated");
        let entropy = machine.prng.bytes(32).try_into().expect("32 bytes");
        let store_page = shared(machine, ring);
        drop(borrowed);
        let weak = Rc::downgrade(world);
        touch::listen(Some(Box::new(move || match weak.upgrade() {
            Some(world) => world.try_borrow_mut().map_or(16, |mut world| {
                let _world = charge(Payer::World);
                world.touched()
            }),
            None => u32::MAX,
        })));
        KernelBoot {
            xen: SimXen {
                world: world.clone(),
                grants: GrantTable::new(table),
                pages: pool,
                shared_info: ours,
                notices: Notifications::default(),
                entropy,
            },
            store: SimRing { world: world.clone(), ring: StoreBytes::new(store_page), port: Port(port) },
            store_ring: (ring, daemon_port),
        }
    }

    fn enter(&self) -> RefMut<'_, World> {
        let mut world = self.world.borrow_mut();
        world.interleave();
        world
    }

    /// References free in the kernel's table.
    pub fn free_references(&self) -> usize {
        self.grants.free()
    }
}

impl Xen for SimXen {
    fn now(&self) -> Moment {
        let _world = charge(Payer::World);
        let mut world = self.enter();
        world.clock_readings += 1;
        world.machine.now
    }

    fn unix_time(&self, now: Moment) -> UnixSeconds {
        let _world = charge(Payer::World);
        self.world.borrow().machine.clock.unix_time(now)
    }

    fn entropy(&mut self) -> Option<[u8; 32]> {
        let _world = charge(Payer::World);
        Some(self.entropy)
    }

    fn hypercalls(&self) -> u64 {
        0
    }

    fn pages(&mut self) -> &mut PagePool {
        &mut self.pages
    }

    fn grant(
        &mut self,
        domain: DomainId,
        page: Page,
        access: Access,
        shown: Range<usize>,
    ) -> Result<GrantedPage, Page> {
        let _world = charge(Payer::World);
        let Some(frame) = self.enter().machine.memory.frame_at(page.address()) else { return Err(page) };
        let granted = self.grants.grant(domain, page, FrameNumber(frame.0.into()), access, shown.clone())?;
        if domain == UPLINK {
            self.world.borrow_mut().machine.uplink_is_granted(frame, access, shown);
        }
        let reference = granted.reference().0;
        let mut world = self.world.borrow_mut();
        world.machine.ledger.granted(reference, access);
        world.note(&[1, u64::from(domain.0), u64::from(reference)], || {
            format!("grants {reference} to domain {} ({access:?})", domain.0)
        });
        Ok(granted)
    }

    fn end_grant(&mut self, granted: GrantedPage) -> Result<Page, GrantedPage> {
        let _world = charge(Payer::World);
        drop(self.enter());
        let reference = granted.reference().0;
        let ended = self.grants.end(granted);
        let mut world = self.world.borrow_mut();
        if let Ok(page) = &ended {
            if let Some(frame) = world.machine.memory.frame_at(page.address()) {
                world.machine.saw(frame);
            }
            world.machine.grant_is_ended(reference);
        }
        world.note(&[2, u64::from(reference), u64::from(ended.is_ok())], || {
            format!("ends grant {reference}: {}", if ended.is_ok() { "ended" } else { "in use" })
        });
        ended
    }

    fn map(&mut self, domain: DomainId, reference: Gref) -> Result<MappedPage, XenError> {
        let _world = charge(Payer::World);
        let mut world = self.enter();
        let result = world.machine.map_grant(KERNEL, domain, reference.0);
        world.note(&[3, u64::from(domain.0), u64::from(reference.0)], || {
            format!(
                "maps grant {} of domain {}: {:?}",
                reference.0,
                domain.0,
                result.map(|(handle, _)| handle)
            )
        });
        let (handle, frame) = result.map_err(|status| XenError(status.into()))?;
        world.machine.memory.map(frame, handle).ok_or(XenError(-1))
    }

    fn unmap(&mut self, mapping: MappedPage) -> Result<(), XenError> {
        let _world = charge(Payer::World);
        let mut world = self.enter();
        let status = world.machine.unmap_grant(KERNEL, mapping.handle());
        world.note(&[4, u64::from(mapping.handle())], || format!("unmaps {}: {status}", mapping.handle()));
        if status == 0 { Ok(()) } else { Err(XenError(status.into())) }
    }

    fn copy(&mut self, batch: &mut CopyBatch) {
        let _world = charge(Payer::World);
        let mut world = self.enter();
        world.machine.batches += 1;
        batch.run(|copies| {
            for copy in copies {
                world.machine.copy_grants(KERNEL, core::slice::from_mut(copy));
                world.between_copies();
            }
        });
    }

    fn allocate_port(&mut self, domain: DomainId) -> Result<Port, XenError> {
        let _world = charge(Payer::World);
        let mut world = self.enter();
        let result = world.machine.channels.allocate(KERNEL, domain);
        world.note(&[6, u64::from(domain.0)], || {
            format!("allocates a port for domain {}: {result:?}", domain.0)
        });
        result.map(Port).map_err(XenError)
    }

    fn bind_port(&mut self, domain: DomainId, remote: RemotePort) -> Result<Port, XenError> {
        let _world = charge(Payer::World);
        let mut world = self.enter();
        let result = world.machine.channels.bind(KERNEL, domain, remote.0);
        world.note(&[7, u64::from(domain.0), u64::from(remote.0)], || {
            format!("binds port {} of domain {}: {result:?}", remote.0, domain.0)
        });
        result.map(Port).map_err(XenError)
    }

    fn close_port(&mut self, port: Port) {
        self.send_notices();
        let _world = charge(Payer::World);
        let mut world = self.enter();
        world.machine.channels.close(KERNEL, port.0);
        world.note(&[8, u64::from(port.0)], || format!("closes port {}", port.0));
        drop(world);
        event::take_pending(&self.shared_info, port);
    }

    fn notify(&mut self, port: Port) {
        if self.notices.is_full() {
            self.send_notices();
        }
        self.notices.add(port);
    }

    fn send_notices(&mut self) {
        let _world = charge(Payer::World);
        for port in core::mem::take(&mut self.notices).ports() {
            let mut world = self.enter();
            world.machine.send_event(KERNEL, port.0);
            world.note(&[9, u64::from(port.0)], || format!("notifies port {}", port.0));
        }
    }

    fn take_pending(&mut self, port: Port) -> bool {
        let _world = charge(Payer::World);
        drop(self.enter());
        event::take_pending(&self.shared_info, port)
    }

    fn wait(&mut self, ports: &[Port], until: Option<Moment>) -> Moment {
        self.send_notices();
        let _world = charge(Payer::World);
        let mut world = self.enter();
        world.machine.hear_complaints();
        world.poll(ports, until, WaitFor::Work);
        world.machine.now
    }

    fn holdings(&self) -> Holdings {
        let world = self.world.borrow();
        Holdings {
            grants: self.grants.in_force(),
            mappings: world.machine.mappings_of(KERNEL),
            // The way to xenstored is not counted.
            ports: world.kernel_ports().saturating_sub(1),
        }
    }

    fn shutdown(&mut self, reason: Shutdown) {
        let _world = charge(Payer::World);
        let mut world = self.enter();
        world.note(&[10], || format!("shuts down: {reason:?}"));
        world.finish();
    }
}

/// The kernel's XenStore ring and its event channel.
pub struct SimRing {
    world: SharedWorld,
    ring: StoreBytes,
    port: Port,
}

impl SimRing {
    /// The event channel, to poll on.
    pub fn port(&self) -> Port {
        self.port
    }

    fn notify(&self) {
        let mut world = self.world.borrow_mut();
        world.interleave();
        world.machine.send_event(KERNEL, self.port.0);
    }
}

impl StoreRing for SimRing {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let _world = charge(Payer::World);
        let moved = self.ring.write(bytes);
        if moved > 0 {
            self.notify();
        }
        moved
    }

    fn read(&mut self, bytes: &mut [u8]) -> usize {
        let _world = charge(Payer::World);
        let moved = self.ring.read(bytes);
        if moved > 0 {
            self.notify();
        }
        moved
    }

    fn status(&self) -> RingStatus {
        self.ring.status()
    }

    fn wait(&mut self) -> Result<(), Timeout> {
        let _world = charge(Payer::World);
        let deadline = self.world.borrow().machine.now + PATIENCE;
        let mut world = self.world.borrow_mut();
        world.poll(&[self.port], Some(deadline), WaitFor::Reply);
        let woken = world.machine.channels.is_pending(self.port.0);
        world.machine.channels.clear(self.port.0);
        // At the end of the world nobody answers any more.
        if woken || (world.machine.now < deadline && !world.is_over()) { Ok(()) } else { Err(Timeout) }
    }
}
