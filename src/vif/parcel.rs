//! A packet in one piece that has just arrived. Most are passed as they lie there and never become a [`Frame`].

use crate::base::bug::OrBug;
use crate::base::side::Side;
use crate::vif::chunks::Chunks;
use crate::vif::frame::{Frame, NoFrame};
use crate::wire::ethernet;
use crate::wire::frame_view::FrameView;
use crate::wire::ipv4::Ipv4;
use crate::wire::packet::{Checksum, Offload, Original, Packet};
use crate::xen::bounce::{Bounce, BounceBuffers};
use crate::xen::charge::Charge;
use crate::xen::page::Page;
use crate::xen::page_pool::{Chunk, PagePool};

/// A packet that is not to be segmented and lies in one place, which it owns.
#[derive(Debug)]
#[must_use = "a parcel that is dropped may lose a page: give it back"]
pub struct Parcel {
    /// Where it lies.
    pub body: Body,
    /// Bytes of the frame, all within the body: an Ethernet header at least.
    pub bytes: u16,
    /// What is known of its layer-4 checksum.
    pub checksum: Checksum,
}

/// Where a packet lies.
#[derive(Debug)]
pub enum Body {
    /// A small one.
    Bounce(Bounce),
    /// In a page, from this byte on.
    Page(Page, u16),
}

impl Parcel {
    /// Its first bytes, to be looked at and changed. `None` when it lies so near the page's end that it has not so many.
    #[inline(always)]
    pub fn view<'a>(&'a mut self, bounces: &'a mut BounceBuffers) -> Option<FrameView<'a>> {
        let head = match &mut self.body {
            Body::Bounce(bounce) => bounces.bytes_mut(bounce)?.first_chunk_mut()?,
            Body::Page(page, offset) => page.head_mut((*offset).into())?,
        };
        Some(FrameView { head, frame_bytes: self.bytes, checksum: self.checksum })
    }

    /// As a frame, for whoever does more than to pass it on. What lies in no page yet gets one, on `charge`.
    ///
    /// # Errors
    /// It is shorter than an Ethernet header, or there is no page.
    #[inline(never)]
    pub fn into_frame(
        self,
        bounces: &mut BounceBuffers,
        charge: Charge,
        pages: &mut PagePool,
    ) -> Result<Frame, NoFrame> {
        let Self { body, bytes, checksum } = self;
        let (page, offset) = match body {
            Body::Page(page, offset) => (page, offset),
            Body::Bounce(bounce) => {
                let content = bounces.bytes_mut(&bounce).or_bug("a bounce buffer that was taken back");
                let content = content.ok_or(NoFrame::NoPage)?;
                let mut page = pages.take(charge).ok_or(NoFrame::NoPage)?;
                if let Some(to) = page.head_mut(0) {
                    *to = *content;
                }
                (page, 0)
            }
        };
        Frame::new(Chunks::one(Chunk { page, offset, bytes }), Offload { checksum, gso: None }, pages)
    }

    /// As a frame whose packet was passed and rewritten, and cut to its length; `original` is what a client's said before.
    ///
    /// # Errors
    /// There is no page.
    pub fn into_passed_frame(
        self,
        original: Option<Original>,
        bounces: &mut BounceBuffers,
        charge: Charge,
        pages: &mut PagePool,
    ) -> Result<Frame, NoFrame> {
        let mut frame = self.into_frame(bounces, charge, pages)?;
        if let Ok(ip) = Ipv4::read(frame.header(), frame.total_bytes()) {
            // Cannot fail: it is not to be segmented.
            let _ = frame.note_header(Side::Uplink, &ip, pages);
        }
        frame.set_original(original);
        Ok(frame)
    }

    /// Cuts off what lies behind an IP packet of so many bytes.
    pub fn cut(&mut self, total_bytes: u16) {
        self.bytes = self.bytes.min(total_bytes.saturating_add(ethernet::HEADER_BYTES as u16));
    }

    /// Gives its page back, if it has one.
    pub fn release(self, pages: &mut PagePool) {
        if let Body::Page(page, _) = self.body {
            pages.give(page);
        }
    }
}

/// What arrived.
#[derive(Debug)]
pub enum Arrived {
    /// A packet in one piece.
    Parcel(Parcel),
    /// One in several, or one that is to be segmented.
    Frame(Frame),
}

impl Arrived {
    /// What lies in these pieces.
    ///
    /// # Errors
    /// It is shorter than an Ethernet header.
    #[inline(always)]
    pub fn of(segments: Chunks, offload: Offload, pages: &mut PagePool) -> Result<Self, NoFrame> {
        match (offload, segments.into_one()) {
            (Offload { gso: None, checksum }, Ok(Chunk { page, offset, bytes }))
                if usize::from(bytes) >= ethernet::HEADER_BYTES =>
            {
                Ok(Self::Parcel(Parcel { body: Body::Page(page, offset), bytes, checksum }))
            }
            (offload, Ok(chunk)) => Frame::new(Chunks::one(chunk), offload, pages).map(Self::Frame),
            (offload, Err(segments)) => Frame::new(segments, offload, pages).map(Self::Frame),
        }
    }
}
