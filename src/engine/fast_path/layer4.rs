//! What a packet carries, and what it does to its flow: a way of its own for each of the two protocols that almost all are
//! of.

use super::head::{Head, Ip, L4};
use crate::base::tick::Tick;
use crate::engine::second::Second;
use crate::flow::end::End;
use crate::flow::record::FlowStage;
use crate::flow::table::FlowEntry;
use crate::flow::tcp::SegmentAction;
use crate::wire::checksum::Delta;
use crate::wire::ipv4::protocol;
use crate::wire::tcp::{self, Flags, Tcp};
use crate::wire::udp;

/// A protocol's part of the fast path.
pub(super) trait Carried: Sized {
    /// Its number.
    const PROTOCOL: u8;
    /// Where its checksum is.
    const SUM_AT: usize;

    /// Reads what the packet carries. `None`: it is for the whole engine.
    fn read(head: &Head<'_>, ip: &Ip) -> Option<Self>;

    /// Moves a flow on by a packet that `sender` sent. `None`, and nothing has changed, if more is to be done than to start
    /// its timeout anew.
    fn step(&self, entry: &mut FlowEntry<'_>, sender: End, second: &Second) -> Option<()>;

    /// The checksum that held `field` once `delta` changed what it covers.
    fn complete(delta: Delta, field: u16) -> u16;
}

/// A segment that carries data or acknowledges some, and does nothing else.
pub(super) struct Segment(Tcp);

impl Carried for Segment {
    const PROTOCOL: u8 = protocol::TCP;
    const SUM_AT: usize = tcp::at::CHECKSUM;

    #[inline(always)]
    fn read(head: &Head<'_>, ip: &Ip) -> Option<Self> {
        let flags = Flags::from_bits_retain(head.byte(L4 + tcp::at::FLAGS));
        let header_bytes = u16::from(head.byte(L4 + tcp::at::DATA_OFFSET) >> 4) * 4;
        let data = ip.total_bytes.checked_sub(L4 as u16 + header_bytes)?;
        let decisive = Flags::SYN | Flags::FIN | Flags::RST | Flags::ACK;
        if usize::from(header_bytes) < tcp::HEADER_BYTES || flags & decisive != Flags::ACK {
            return None;
        }
        let (source_port, destination_port) = head.ports();
        Some(Segment(Tcp {
            source_port,
            destination_port,
            sequence: head.long(L4 + tcp::at::SEQUENCE),
            acknowledgement: head.long(L4 + tcp::at::ACKNOWLEDGEMENT),
            flags: Flags::ACK,
            window: head.word(L4 + tcp::at::WINDOW),
            span: data.into(),
            window_scale: None,
        }))
    }

    #[inline(always)]
    fn step(&self, entry: &mut FlowEntry<'_>, sender: End, second: &Second) -> Option<()> {
        let flow = entry.flow();
        let (FlowStage::Tcp(stage), opener) = (flow.stage, flow.kind.opener()) else { return None };
        if !stage.is_assured() {
            return None;
        }
        let action = entry.tcp().step(stage, opener, sender, &self.0);
        debug_assert_eq!(action, SegmentAction::Restart(stage));
        // All open ones have the same timeout.
        if entry.flow().deadline != second.tcp {
            entry.refresh(second.tick);
        }
        Some(())
    }

    #[inline(always)]
    fn complete(delta: Delta, field: u16) -> u16 {
        delta.apply(field)
    }
}

/// A datagram.
pub(super) struct Datagram;

impl Carried for Datagram {
    const PROTOCOL: u8 = protocol::UDP;
    const SUM_AT: usize = udp::at::CHECKSUM;

    #[inline(always)]
    fn read(head: &Head<'_>, ip: &Ip) -> Option<Self> {
        let bytes = head.word(L4 + udp::at::LENGTH);
        let most = ip.total_bytes.checked_sub(L4 as u16)?;
        (usize::from(bytes) >= udp::HEADER_BYTES && bytes <= most).then_some(Datagram)
    }

    #[inline(always)]
    fn step(&self, entry: &mut FlowEntry<'_>, sender: End, second: &Second) -> Option<()> {
        if entry.flow().stage != FlowStage::Assured {
            return one_way(entry, sender, second.tick);
        }
        // One with a name server has another timeout, and is refreshed again.
        if entry.flow().deadline != second.udp {
            entry.refresh(second.tick);
        }
        Some(())
    }

    #[inline(always)]
    fn complete(delta: Delta, field: u16) -> u16 {
        delta.apply_udp(field)
    }
}

/// A datagram of a flow that is not known to go both ways. It passes if it changes nothing: not the flow's stage, and not its
/// timeout, which its first datagram in each second starts anew.
#[inline(never)]
fn one_way(entry: &FlowEntry<'_>, sender: End, now: Tick) -> Option<()> {
    let flow = entry.flow();
    let stage = flow.stage;
    // The near end's packets refresh its flow; the far end's only one that was answered.
    let refreshes = sender == End::Near || stage != FlowStage::Unreplied;
    let changes = matches!(stage, FlowStage::Tcp(_))
        || stage.after(sender, flow.kind.opener()) != stage
        || (refreshes && !entry.was_refreshed(now));
    (!changes).then_some(())
}
