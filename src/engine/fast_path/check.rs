//! The whole engine's word on each packet that the fast path passes: the same bytes, the same way, the same flow.

use crate::base::bug::bug;
use crate::base::side::Side;
use crate::base::time::Moment;
use crate::engine::datapath::Datapath;
use crate::engine::datapath::{PacketView, Verdict};
use crate::engine::passed_packet::PassedPacket;
use crate::flow::record::Flow;
use crate::nat::ident::UNCUT_BYTES;
use crate::tables::slab::Id;
use crate::wire::ethernet;
use crate::wire::frame_view::{FrameView, HEAD_BYTES};
use crate::wire::ipv4::{DontFragment, Ipv4};
use crate::wire::packet::{Checksum, Offload};

/// Room for all headers at their longest. What the fast path does not look at is zero here: it says nothing to the whole
/// engine either.
const ROOM: usize = 192;

/// What there was before the fast path judged a packet.
pub(super) struct Before {
    id: Id<Flow>,
    flow: Flow,
    bytes: [u8; ROOM],
    frame_bytes: u16,
    checksum: Checksum,
}

impl Before {
    /// A packet that is of the flow `id`, which the fast path has not touched yet.
    pub(super) fn of(id: Id<Flow>, flow: &Flow, frame: &FrameView<'_>) -> Self {
        let mut bytes = [0; ROOM];
        bytes.iter_mut().zip(&*frame.head).for_each(|(to, from)| *to = *from);
        Self { id, flow: *flow, bytes, frame_bytes: frame.frame_bytes, checksum: frame.checksum }
    }
}

impl Datapath {
    /// Has the whole engine judge what the fast path `passed`, which came from `from`. What it does to the flow is what
    /// stays.
    pub(super) fn check_fast_path(
        &mut self,
        now: Moment,
        from: Side,
        before: Before,
        frame: &FrameView<'_>,
        passed: &PassedPacket,
    ) {
        let Before { id, flow, mut bytes, frame_bytes, checksum } = before;
        let Some(fast) = self.flows.get_mut(id).map(|present| core::mem::replace(present, flow)) else {
            return bug("the fast path passed a packet of no flow");
        };
        let frame_end = usize::from(frame_bytes).min(ROOM);
        let header = bytes.get_mut(ethernet::HEADER_BYTES..frame_end).unwrap_or_default();
        let available = usize::from(frame_bytes).saturating_sub(ethernet::HEADER_BYTES);
        let Ok(ip) = Ipv4::read(header, available) else {
            return bug("the fast path passed a packet with a header that cannot be read");
        };
        // The fast path has drawn the packet's identification if it may be cut: that is taken back, to be drawn once more.
        if passed.exit == Side::Uplink
            && ip.dont_fragment == DontFragment::Clear
            && ip.total_bytes > UNCUT_BYTES
        {
            self.idents.next(passed.destination, ip.protocol, u16::MAX);
        }
        let mut view = PacketView { header, ip, offload: Offload { checksum, gso: None } };
        let verdict = match self.screen(from, &view) {
            Ok(()) => self.judge_packet(now, from, &mut view),
            Err(why) => Verdict::Discard(why),
        };
        let goes = match verdict {
            Verdict::Forward(way) => self.clients.outside(way.to).map(|exit| (exit, way.destination)),
            Verdict::Receive(_) | Verdict::Discard(_) => None,
        };
        if goes != Some((passed.exit, passed.destination)) || ip.total_bytes != passed.total_bytes {
            bug("the fast path sends a packet where the whole engine does not");
        }
        let end = usize::from(ip.total_bytes).min(HEAD_BYTES - ethernet::HEADER_BYTES);
        let fast_header = frame.head.get(ethernet::HEADER_BYTES..).and_then(|header| header.get(..end));
        if fast_header != view.header.get(..end) {
            bug("the fast path rewrites a packet as the whole engine does not");
        }
        if self.flows.get(id) != Some(&fast) {
            bug("the fast path moves a flow on as the whole engine does not");
        }
    }
}
