//! Packets from the uplink: buffers that its backend filled.

use super::{Netfront, PACKETS_PER_PASS, UplinkBroken};
use crate::vif::chunks::Chunks;
use crate::vif::extra::Extra;
use crate::vif::parcel::Arrived;
use crate::vif::rx::{RX_BYTES, RxFlags, RxRequest, RxResponse};
use crate::wire::packet::{Gso, Offload};
use crate::xen::Xen;
use crate::xen::charge::Charge;
use crate::xen::grant::{Access, GrantedPage};
use crate::xen::page::PAGE_BYTES;
use crate::xen::page_pool::{Chunk, PagePool};

/// A packet of which slots are being taken.
#[derive(Debug, Default)]
struct Incoming {
    segments: Option<Chunks>,
    /// What the first slot says is left to do.
    offload: Option<Offload>,
    usable: Usable,
}

/// Whether a packet is all there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Usable {
    #[default]
    Yes,
    No,
}

impl Incoming {
    /// Adds a piece behind the others; gives it back to the pool when there is no room for it.
    fn push(&mut self, segment: Chunk, pages: &mut PagePool) {
        let Some(segments) = &mut self.segments else {
            self.segments = Some(Chunks::one(segment));
            return;
        };
        if let Err(Chunk { page, .. }) = segments.push(segment, pages) {
            pages.give(page);
            self.usable = Usable::No;
        }
    }
}

impl Netfront {
    /// Takes received packets and hands each to `arrived`.
    pub fn receive<X: Xen>(
        &mut self,
        xen: &mut X,
        arrived: &mut impl FnMut(Arrived),
    ) -> Result<(), UplinkBroken> {
        let mut waiting = self.rx.waiting()?;
        for _ in 0..PACKETS_PER_PASS {
            if waiting == 0 {
                break;
            }
            if let Some(packet) = self.take_packet(xen, &mut waiting)? {
                self.traffic.received += 1;
                arrived(packet);
            }
        }
        Ok(())
    }

    /// Takes the next response and the buffer that was posted in its slot.
    pub(super) fn take_slot(
        &mut self,
        waiting: &mut u32,
    ) -> Result<(u16, [u8; RX_BYTES], GrantedPage), UplinkBroken> {
        *waiting = waiting.checked_sub(1).ok_or(UplinkBroken::Slots)?;
        let (slot, entry) = self.rx.take();
        let granted = self.rx_pages.get_mut(usize::from(slot)).and_then(Option::take);
        Ok((slot, entry, granted.ok_or(UplinkBroken::UnknownId)?))
    }

    /// Takes the extra-info entries behind a packet's first slot. Each has cost a buffer, which is not used.
    pub(super) fn take_extras(&mut self, xen: &mut impl Xen, waiting: &mut u32) -> Result<Gso, UplinkBroken> {
        loop {
            let (_, entry, granted) = self.take_slot(waiting)?;
            if let Some(page) = self.end(granted, xen)? {
                xen.pages().give(page);
            }
            let extra = Extra::parse(&entry);
            let gso = extra.segmentation().map_err(|_| UplinkBroken::ExtraInfo)?;
            if !extra.more {
                return Ok(gso);
            }
        }
    }

    /// Takes the slots of one packet; `None` when it is not usable.
    fn take_packet(
        &mut self,
        xen: &mut impl Xen,
        waiting: &mut u32,
    ) -> Result<Option<Arrived>, UplinkBroken> {
        // The pages are gathered into `incoming`, so that they can be given back however gathering ends.
        let mut incoming = Incoming::default();
        let gathered = self.gather(&mut incoming, xen, waiting);
        match (gathered, incoming) {
            (Ok(()), Incoming { segments: Some(segments), offload, usable: Usable::Yes }) => {
                let offload = offload.unwrap_or(Offload::NONE);
                if let Ok(packet) = Arrived::of(segments, offload, xen.pages()) {
                    return Ok(Some(packet));
                }
            }
            (gathered, Incoming { segments, .. }) => {
                if let Some(segments) = segments {
                    segments.release(xen.pages());
                }
                gathered?;
            }
        }
        self.traffic.bad_packet += 1;
        Ok(None)
    }

    /// Takes slots up to a packet's last one.
    fn gather(
        &mut self,
        incoming: &mut Incoming,
        xen: &mut impl Xen,
        waiting: &mut u32,
    ) -> Result<(), UplinkBroken> {
        loop {
            let (slot, entry, granted) = self.take_slot(waiting)?;
            let response = RxResponse::parse(entry);
            match (self.end(granted, xen)?, u16::try_from(response.status)) {
                (Some(page), Ok(bytes))
                    if usize::from(response.offset) + usize::from(bytes) <= PAGE_BYTES =>
                {
                    incoming.push(Chunk { page, offset: response.offset, bytes }, xen.pages());
                }
                (Some(page), _) => {
                    xen.pages().give(page);
                    incoming.usable = Usable::No;
                }
                (None, _) => incoming.usable = Usable::No,
            }
            match response {
                RxResponse { id, .. } if id != slot => return Err(UplinkBroken::UnknownId),
                RxResponse { flags, .. } if flags.contains(RxFlags::GSO_PREFIX) => {
                    return Err(UplinkBroken::ExtraInfo);
                }
                RxResponse { flags, .. } if incoming.offload.is_none() => {
                    let extras = flags.contains(RxFlags::EXTRA_INFO);
                    let gso = if extras { Some(self.take_extras(xen, waiting)?) } else { None };
                    incoming.offload = Some(Offload { checksum: flags.checksum(), gso });
                }
                _ => {}
            }
            if !response.flags.contains(RxFlags::MORE_DATA) {
                return Ok(());
            }
        }
    }

    /// Fills the receive ring. The backend can read what it may write: it finds nobody else's bytes there.
    pub(super) fn post_buffers(&mut self, xen: &mut impl Xen) {
        for _ in 0..self.rx.room() {
            let slot = self.rx.next_slot();
            let Some(place) = self.rx_pages.get_mut(usize::from(slot)) else { break };
            let Some(page) = xen.pages().take(Charge::UPLINK) else { break };
            match xen.grant(self.backend, page, Access::ReadWrite, 0..0) {
                Ok(granted) => {
                    self.rx.push(RxRequest { id: slot, reference: granted.reference() }.encode());
                    *place = Some(granted);
                }
                Err(page) => {
                    xen.pages().give(page);
                    break;
                }
            }
        }
    }
}
