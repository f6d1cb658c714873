//! A packet in one page of ours that has just arrived. Most are passed as they lie there and never become a [`Frame`].

use crate::base::side::Side;
use crate::vif::chunks::Chunks;
use crate::vif::frame::{Frame, NoFrame};
use crate::wire::ethernet;
use crate::wire::frame_view::FrameView;
use crate::wire::ipv4::Ipv4;
use crate::wire::packet::{Checksum, Offload, Original, Packet};
use crate::xen::page::Page;
use crate::xen::page_pool::{Chunk, PagePool};

/// A packet that is not to be segmented, contiguous in its page.
#[derive(Debug)]
#[must_use = "a parcel that is dropped is lost: give its page back"]
pub struct Parcel {
    /// The page.
    pub page: Page,
    /// First byte.
    pub offset: u16,
    /// Bytes of the frame; `offset + bytes` is within the page.
    pub bytes: u16,
    /// What is known of its layer-4 checksum.
    pub checksum: Checksum,
}

impl Parcel {
    /// Its first bytes, to be looked at and changed. `None` when it lies so near the page's end that it has not so many.
    #[inline(always)]
    pub fn view(&mut self) -> Option<FrameView<'_>> {
        let head = self.page.head_mut(self.offset.into())?;
        Some(FrameView { head, frame_bytes: self.bytes, checksum: self.checksum })
    }

    /// As a frame, for whoever does more than to pass it on.
    ///
    /// # Errors
    /// It is shorter than an Ethernet header.
    pub fn into_frame(self, pages: &mut PagePool) -> Result<Frame, NoFrame> {
        let Self { page, offset, bytes, checksum } = self;
        Frame::new(Chunks::one(Chunk { page, offset, bytes }), Offload { checksum, gso: None }, pages)
    }

    /// As a frame whose packet was passed and rewritten, and cut to its length; `original` is what a client's said before.
    ///
    /// # Errors
    /// Never: what was passed has a header.
    pub fn into_passed_frame(
        self,
        original: Option<Original>,
        pages: &mut PagePool,
    ) -> Result<Frame, NoFrame> {
        let mut frame = self.into_frame(pages)?;
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
}

/// What arrived.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most are parcels, and nothing is allocated for the others")]
pub enum Arrived {
    /// A packet in one page.
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
            (Offload { gso: None, checksum }, Ok(Chunk { page, offset, bytes })) => {
                Ok(Self::Parcel(Parcel { page, offset, bytes, checksum }))
            }
            (offload, Ok(chunk)) => Frame::new(Chunks::one(chunk), offload, pages).map(Self::Frame),
            (offload, Err(segments)) => Frame::new(segments, offload, pages).map(Self::Frame),
        }
    }

    /// As a frame in any case.
    ///
    /// # Errors
    /// It is shorter than an Ethernet header.
    pub fn into_frame(self, pages: &mut PagePool) -> Result<Frame, NoFrame> {
        match self {
            Self::Parcel(parcel) => parcel.into_frame(pages),
            Self::Frame(frame) => Ok(frame),
        }
    }
}
