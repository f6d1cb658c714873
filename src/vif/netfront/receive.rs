//! Packets from the uplink: buffers that its backend filled.

use super::{Netfront, PACKETS_PER_PASS, UplinkBroken};
use crate::vif::chunks::Chunks;
use crate::vif::extra::Extra;
use crate::vif::parcel::{Arrived, Body, Parcel};
use crate::vif::rx::{RX_BYTES, RxFlags, RxRequest, RxResponse};
use crate::wire::ethernet::HEADER_BYTES;
use crate::wire::packet::{Gso, Offload};
use crate::xen::Xen;
use crate::xen::bounce::{BOUNCE_BYTES, BounceBuffers};
use crate::xen::charge::Charge;
use crate::xen::grant::{Access, GrantedPage};
use crate::xen::page::PAGE_BYTES;
use crate::xen::page_pool::{Chunk, PagePool};
use core::ops::RangeInclusive;

/// A slot that its backend has filled, and the buffer that was posted there.
pub(super) struct RxSlot {
    slot: u16,
    entry: [u8; RX_BYTES],
    granted: GrantedPage,
}

/// Bytes of a packet that fits into a bounce buffer.
const SMALL: RangeInclusive<i16> = HEADER_BYTES as i16..=BOUNCE_BYTES as i16;

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
    /// Takes received packets and hands each to `arrived`; small ones in `bounces`.
    pub fn receive<X: Xen>(
        &mut self,
        xen: &mut X,
        bounces: &mut BounceBuffers,
        arrived: &mut impl FnMut(Arrived),
    ) -> Result<(), UplinkBroken> {
        let mut waiting = self.rx.waiting()?;
        for _ in 0..PACKETS_PER_PASS {
            if waiting == 0 {
                break;
            }
            let first = self.take_slot(&mut waiting)?;
            let packet = match self.take_small(first, bounces) {
                Ok(parcel) => Some(Arrived::Parcel(parcel)),
                Err(first) => self.take_packet(first, xen, &mut waiting)?,
            };
            if let Some(packet) = packet {
                self.traffic.received += 1;
                arrived(packet);
            }
        }
        Ok(())
    }

    /// Copies a small packet of one slot out of its page, and posts that anew as it is: all that its backend can see there,
    /// it has written itself. Any other packet's slot comes back.
    #[inline(always)]
    fn take_small(&mut self, slot: RxSlot, bounces: &mut BounceBuffers) -> Result<Parcel, RxSlot> {
        let response = RxResponse::parse(slot.entry);
        let (start, bytes) = (usize::from(response.offset), response.status as u16);
        let is_small = SMALL.contains(&response.status)
            && start.is_multiple_of(8)
            && start + BOUNCE_BYTES <= PAGE_BYTES
            && !response.flags.intersects(RxFlags::MORE_DATA | RxFlags::EXTRA_INFO | RxFlags::GSO_PREFIX)
            && response.id == slot.slot;
        let bounce = if is_small { bounces.take() } else { None };
        let Some(bounce) = bounce else { return Err(slot) };
        if let Some(content) = bounces.bytes_mut(&bounce) {
            let shared = slot.granted.shared();
            for (at, eight) in
                content.as_chunks_mut::<8>().0.iter_mut().enumerate().take(usize::from(bytes).div_ceil(8))
            {
                *eight = shared.load_long(start + at * 8);
            }
        }
        self.post(slot.granted);
        Ok(Parcel { body: Body::Bounce(bounce), bytes, checksum: response.flags.checksum() })
    }

    /// Posts a buffer in the next slot, for which there is room.
    #[inline(always)]
    fn post(&mut self, granted: GrantedPage) {
        let slot = self.rx.next_slot();
        self.rx.push(RxRequest { id: slot, reference: granted.reference() }.encode());
        if let Some(place) = self.rx_pages.get_mut(usize::from(slot)) {
            *place = Some(granted);
        }
    }

    /// Takes the next response and the buffer that was posted in its slot.
    pub(super) fn take_slot(&mut self, waiting: &mut u32) -> Result<RxSlot, UplinkBroken> {
        *waiting = waiting.checked_sub(1).ok_or(UplinkBroken::Slots)?;
        let (slot, entry) = self.rx.take();
        let granted = self.rx_pages.get_mut(usize::from(slot)).and_then(Option::take);
        Ok(RxSlot { slot, entry, granted: granted.ok_or(UplinkBroken::UnknownId)? })
    }

    /// Takes the extra-info entries behind a packet's first slot. Each has cost a buffer, which is not used.
    pub(super) fn take_extras(&mut self, xen: &mut impl Xen, waiting: &mut u32) -> Result<Gso, UplinkBroken> {
        loop {
            let RxSlot { entry, granted, .. } = self.take_slot(waiting)?;
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

    /// Takes the slots of the packet that begins with `first`; `None` when it is not usable.
    fn take_packet(
        &mut self,
        first: RxSlot,
        xen: &mut impl Xen,
        waiting: &mut u32,
    ) -> Result<Option<Arrived>, UplinkBroken> {
        // The pages are gathered into `incoming`, so that they can be given back however gathering ends.
        let mut incoming = Incoming::default();
        let gathered = self.gather(first, &mut incoming, xen, waiting);
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
        first: RxSlot,
        incoming: &mut Incoming,
        xen: &mut impl Xen,
        waiting: &mut u32,
    ) -> Result<(), UplinkBroken> {
        let mut next = first;
        loop {
            let RxSlot { slot, entry, granted } = next;
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
            next = self.take_slot(waiting)?;
        }
    }

    /// Fills the receive ring. The backend can read what it may write: it finds nobody else's bytes there.
    pub(super) fn post_buffers(&mut self, xen: &mut impl Xen) {
        for _ in 0..self.rx.room() {
            let Some(page) = xen.pages().take(Charge::UPLINK) else { break };
            match xen.grant(self.backend, page, Access::ReadWrite, 0..0) {
                Ok(granted) => self.post(granted),
                Err(page) => {
                    xen.pages().give(page);
                    break;
                }
            }
        }
    }
}
