//! A hypervisor that does what it is asked to without looking: references are frame numbers.
#![allow(missing_docs)]

use ravelin::base::time::{Moment, UnixSeconds};
use ravelin::xen::copy::CopyBatch;
use ravelin::xen::event::{Port, RemotePort};
use ravelin::xen::grant::{Access, GrantTable, GrantedPage, Gref};
use ravelin::xen::host::{HostFrame, HostMemory};
use ravelin::xen::page::Page;
use ravelin::xen::page_pool::PagePool;
use ravelin::xen::{DomainId, FrameNumber, Holdings, MappedPage, Shutdown, Xen, XenError};
use std::ops::Range;

const SELF: u16 = 0x7ff0;

pub struct Stub {
    pub memory: HostMemory,
    grants: GrantTable,
    pages: PagePool,
}

impl Stub {
    /// A machine of `kernel` packet pages, and as many frames for peers and tables behind them.
    pub fn new(kernel: u32, others: u32) -> Self {
        let mut memory = HostMemory::new((kernel + others) as usize);
        let mut pages = PagePool::with_capacity(kernel as usize);
        for frame in 0..kernel {
            pages.add(memory.give(HostFrame(frame)).expect("given once"));
        }
        let table = (0..4).map(|index| memory.shared(HostFrame(kernel + index)).expect("a frame")).collect();
        Self { memory, grants: GrantTable::new(table), pages }
    }

    /// The page that the kernel granted, by the entry in its table.
    pub fn granted(&self, table: HostFrame, reference: u32) -> HostFrame {
        let place = HostFrame(table.0 + reference / 512);
        HostFrame(self.memory.word(place, (reference % 512) as usize * 8 + 4))
    }
}

impl Xen for Stub {
    fn now(&self) -> Moment {
        Moment::from_nanoseconds(1_000_000_000)
    }

    fn unix_time(&self, _: Moment) -> UnixSeconds {
        UnixSeconds(0)
    }

    fn entropy(&mut self) -> Option<[u8; 32]> {
        Some([7; 32])
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
        let Some(frame) = self.memory.frame_at(page.address()) else { return Err(page) };
        self.grants.grant(domain, page, FrameNumber(frame.0.into()), access, shown)
    }

    fn end_grant(&mut self, granted: GrantedPage) -> Result<Page, GrantedPage> {
        self.grants.end(granted)
    }

    fn map(&mut self, _: DomainId, reference: Gref) -> Result<MappedPage, XenError> {
        self.memory.map(HostFrame(reference.0), 0).ok_or(XenError(-1))
    }

    fn unmap(&mut self, _: MappedPage) -> Result<(), XenError> {
        Ok(())
    }

    fn copy(&mut self, batch: &mut CopyBatch) {
        let memory = &self.memory;
        batch.run(|copies| {
            for copy in copies {
                let frame = |side: &ravelin::xen::abi::GrantCopySide| match side.domain {
                    SELF => memory.frame_at(side.reference as usize).expect("a page of ours"),
                    _ => HostFrame(side.reference as u32),
                };
                let from = (frame(&copy.source), usize::from(copy.source.offset));
                let to = (frame(&copy.dest), usize::from(copy.dest.offset));
                memory.copy(from, to, copy.len.into());
                copy.status = 0;
            }
        });
    }

    fn allocate_port(&mut self, _: DomainId) -> Result<Port, XenError> {
        Ok(Port(1))
    }

    fn bind_port(&mut self, _: DomainId, _: RemotePort) -> Result<Port, XenError> {
        Ok(Port(2))
    }

    fn close_port(&mut self, _: Port) {}

    fn notify(&mut self, _: Port) {}

    fn send_notices(&mut self) {}

    fn take_pending(&mut self, _: Port) -> bool {
        true
    }

    fn wait(&mut self, _: &[Port], _: Option<Moment>) -> Moment {
        self.now()
    }

    fn holdings(&self) -> Holdings {
        Holdings { grants: self.grants.in_force(), mappings: 0, ports: 0 }
    }

    fn hypercalls(&self) -> u64 {
        0
    }

    fn shutdown(&mut self, _: Shutdown) {}
}
