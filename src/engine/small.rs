//! Small packets: judged where they lie. Few need a page of their own after that.

use super::datapath::{PacketView, Verdict};
use super::passed_packet::PassedPacket;
use super::{Engine, Output};
use crate::base::drop_reason::DropReason;
use crate::base::side::Side;
use crate::base::time::Moment;
use crate::wire::ipv4::{Ipv4, Part};
use crate::wire::packet::{Checksum, Offload, Original, Packet};

/// What became of a small packet.
#[derive(Clone, Copy, Debug)]
pub enum SmallVerdict {
    /// It was rewritten and leaves as it is. An [answer](Engine::send_answer) may be waiting.
    Passed(PassedPacket),
    /// More is to be done with it, by [`Engine::finish`].
    Judged(Judged),
    /// Nothing was done: it is for [`Engine::outbound`] or [`Engine::inbound`].
    NotJudged,
}

/// A packet that was judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    from: Side,
    /// What its header said before.
    ip: Ipv4,
    verdict: Verdict,
}

impl<D: Packet> Engine<D> {
    /// Judges a packet that lies whole in `packet`, from the IP header on, and came from `side`, as vifs have it.
    #[inline(never)]
    pub fn judge_small(
        &mut self,
        now: Moment,
        side: Side,
        packet: &mut [u8],
        checksum: Checksum,
    ) -> SmallVerdict {
        let Ok(ip) = Ipv4::read(packet, packet.len()) else { return SmallVerdict::NotJudged };
        let Some(from) = self.datapath.clients().inside(side) else { return SmallVerdict::NotJudged };
        // What lies behind its end, such as padding, is no part of it.
        let Some(packet) = packet.get_mut(..ip.total_bytes.into()) else { return SmallVerdict::NotJudged };
        let original = matches!(side, Side::Client(_)).then(|| Original::of(&ip, packet));
        let mut view = PacketView { header: packet, ip, offload: Offload { checksum, gso: None } };
        if ip.part != Part::Whole
            || ip.total_bytes > self.datapath.least_mtu()
            || self.datapath.screen(from, &view).is_err()
        {
            return SmallVerdict::NotJudged;
        }
        let verdict = self.datapath.judge_packet(now, from, &mut view);
        if let Verdict::Forward(way) = verdict
            && let Some(exit) = self.datapath.clients().outside(way.to)
        {
            self.datapath.count_forwarded(from, way.to, 1);
            let Ipv4 { total_bytes, .. } = ip;
            return SmallVerdict::Passed(PassedPacket {
                exit,
                destination: way.destination,
                total_bytes,
                original,
            });
        }
        SmallVerdict::Judged(Judged { from, ip, verdict })
    }

    /// Does with a packet what was decided when it was judged. Nothing that is not forwarded was rewritten.
    pub fn finish(&mut self, judged: Judged, mut packet: D, output: &mut impl Output<D>) {
        let Judged { from, ip, verdict } = judged;
        let Some(side) = self.datapath.clients().outside(from) else {
            return self.discard(packet, DropReason::NoClient, output);
        };
        // Not refused: it is not to be segmented.
        let _ = output.admit(side, &mut packet, &ip);
        self.carry_out_seldom(from, packet, &ip, verdict, output);
    }
}
