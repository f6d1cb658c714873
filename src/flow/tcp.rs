//! The state of a TCP connection as a firewall between its ends sees it (RFC 7857 section 2).
//!
//! The tracking is light: it decides which timeout holds and whether a RST, FIN or ICMP error can be from the
//! connection's own ends; it never judges data by its sequence numbers. Each end's half remembers what that
//! end sent and what it is ready to receive, and is only updated by segments that fit the other half, so
//! that somebody who guesses addresses and ports alone cannot move it (the idea of RFC 5961).

use bitflags::bitflags;

use super::end::End;
use crate::wire::tcp::{Flags, Tcp};

/// How far a connection is. "Opener" is the end that sent the first SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpStage {
    /// The opener's SYN passed.
    SynSent,
    /// Both ends sent a SYN without ACK (simultaneous open, RFC 9293 section 3.5).
    SynSent2,
    /// The other end's acknowledgement of that SYN passed, with its own SYN.
    SynReceived,
    /// The handshake is complete.
    Established,
    /// The near end sent its FIN.
    NearFinReceived,
    /// The far end sent its FIN.
    FarFinReceived,
    /// Both ends sent their FIN.
    BothFinReceived,
    /// One end sent a RST that was in its window.
    Reset,
}

impl TcpStage {
    /// Every stage, in order.
    pub const ALL: [TcpStage; TcpStage::COUNT] = [
        TcpStage::SynSent,
        TcpStage::SynSent2,
        TcpStage::SynReceived,
        TcpStage::Established,
        TcpStage::NearFinReceived,
        TcpStage::FarFinReceived,
        TcpStage::BothFinReceived,
        TcpStage::Reset,
    ];

    /// How many there are.
    pub const COUNT: usize = 8;

    /// Whether the connection may not be sacrificed for a newer one of the same client.
    pub const fn is_assured(self) -> bool {
        matches!(self, TcpStage::Established | TcpStage::NearFinReceived | TcpStage::FarFinReceived)
    }
}

/// What a segment means to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentAction {
    /// It passes, and the timeout of this stage starts anew.
    Restart(TcpStage),
    /// It passes and changes nothing.
    Keep,
    /// It opens a new connection between the same ends: the old one is to be forgotten first.
    Reopen,
    /// It is a SYN of the end that did not open the connection: whether it may pass is for the rules.
    Turn,
    /// It answers a SYN of that end: the connection is no more, and the new one is to be opened from that side.
    Renounce,
    /// It does not belong to the connection and must not pass.
    Refuse,
}

/// What one end sent, and what it is ready to receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// The sequence number after the highest it sent.
    sent: u32,
    /// The highest acknowledgement it sent: where its receive window begins. Before it sent one: the sequence number of
    /// the other end's SYN.
    acknowledged: u32,
    /// Where its receive window ends. Before the other end's SYN is seen: the size of its first window.
    limit: u32,
}

/// Shift of an end that sent no window scale option.
const UNSCALED: u8 = 15;

/// How far back of the window a segment may begin: keep-alives and retransmissions lie there.
const SLACK: u32 = 65_536;

/// Both halves of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpTracker {
    near: Half,
    far: Half,
    /// Window scale of the near end in the low nibble, of the far end in the high one.
    scales: u8,
    /// What is known of the last SYN that passed on the open connection: [`Offer`].
    offer: Offer,
    /// The low half of that SYN's sequence number: there is no room for more in a cache line, and whoever guesses a RST
    /// into a window has to guess no more than that.
    offered: u16,
}

bitflags! {
    /// A SYN on an open connection, or a second answer to the SYN of one that opens. Its sender may have lost the
    /// connection, or be another host; what its receiver makes of it, its answer shows.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Offer: u8 {
        /// Its window scale, [`UNSCALED`] without.
        const SCALE = 0x0F;
        /// The near end sent it.
        const OF_NEAR = 0x10;
        /// The far end sent it.
        const OF_FAR = 0x20;
        /// It carries data.
        const DATA = 0x40;
    }
}

/// The most data of a SYN that its answer may acknowledge, where only its sequence number is known, in bytes.
const SYN_DATA: u16 = 1460;

/// Whether `number` lies in `first..=last`, in sequence space.
const fn within(number: u32, first: u32, last: u32) -> bool {
    number.wrapping_sub(first) <= last.wrapping_sub(first)
}

/// Whether `a` is after `b` in sequence space.
const fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

impl TcpTracker {
    /// The state after the `opener`'s SYN.
    pub fn open(opener: End, syn: &Tcp) -> TcpTracker {
        let mut track = TcpTracker { scales: UNSCALED | UNSCALED << 4, ..TcpTracker::default() };
        track.begin(opener, syn);
        track.half_mut(opener.other()).acknowledged = syn.sequence;
        track
    }

    const fn half(&self, end: End) -> &Half {
        match end {
            End::Near => &self.near,
            End::Far => &self.far,
        }
    }

    const fn half_mut(&mut self, end: End) -> &mut Half {
        match end {
            End::Near => &mut self.near,
            End::Far => &mut self.far,
        }
    }

    const fn set_scale(&mut self, end: End, scale: u8) {
        self.scales = match end {
            End::Near => self.scales & 0xF0 | scale,
            End::Far => self.scales & 0x0F | scale << 4,
        };
    }

    /// Notes the SYN of `end`.
    fn begin(&mut self, end: End, syn: &Tcp) {
        self.set_scale(end, syn.window_scale.unwrap_or(UNSCALED));
        *self.half_mut(end) = Half { sent: syn.end(), acknowledged: 0, limit: u32::from(syn.window) };
    }

    /// Whether `acknowledgement` takes the `opener`'s SYN, before the other end took anything: all of it, or the SYN and
    /// not, or not all of, the data it carries (TCP Fast Open, RFC 7413 section 4.2.2).
    const fn takes_syn(&self, opener: End, acknowledgement: u32) -> bool {
        let first = self.half(opener.other()).acknowledged.wrapping_add(1);
        within(acknowledgement, first, self.half(opener).sent)
    }

    /// Notes that `end` has received nothing yet of an other end that starts at `sequence`.
    fn nothing_received(&mut self, end: End, sequence: u32) {
        let half = self.half_mut(end);
        half.acknowledged = sequence;
        half.limit = sequence.wrapping_add(half.limit).wrapping_add(1);
    }

    /// The window a segment of `end` advertises, in bytes (RFC 7323: scaled if both ends scale, never in a SYN).
    const fn window(&self, end: End, segment: &Tcp) -> u32 {
        let (near, far) = (self.scales & 0x0F, self.scales >> 4);
        let own = match end {
            End::Near => near,
            End::Far => far,
        };
        if near == UNSCALED || far == UNSCALED || segment.flags.contains(Flags::SYN) {
            return segment.window as u32;
        }
        (segment.window as u32) << own
    }

    /// Whether a RST of `sender` lies in the window the other end last showed (conformance TC-3).
    const fn closes(&self, sender: End, reset: &Tcp) -> bool {
        let receiver = self.half(sender.other());
        within(reset.sequence, receiver.acknowledged, receiver.limit)
    }

    const fn offer_of(end: End) -> Offer {
        match end {
            End::Near => Offer::OF_NEAR,
            End::Far => Offer::OF_FAR,
        }
    }

    /// Remembers a `syn` of `sender` on the open connection, unless it is the connection's own, sent again.
    pub fn remember(&mut self, sender: End, syn: &Tcp) {
        if within(self.half(sender.other()).acknowledged, syn.sequence, syn.end()) {
            return;
        }
        let scale = Offer::from_bits_truncate(syn.window_scale.unwrap_or(UNSCALED)) & Offer::SCALE;
        let data = if syn.span > 1 { Offer::DATA } else { Offer::empty() };
        self.offer = scale | Self::offer_of(sender) | data;
        self.offered = syn.sequence as u16;
    }

    /// Whether a segment of `sender` acknowledges the other end's SYN that was remembered.
    fn answers_offer(&self, sender: End, segment: &Tcp) -> bool {
        let data = if self.offer.contains(Offer::DATA) { SYN_DATA } else { 0 };
        let beyond = (segment.acknowledgement as u16).wrapping_sub(self.offered).wrapping_sub(1);
        segment.flags.contains(Flags::ACK)
            && self.offer.contains(Self::offer_of(sender.other()))
            && beyond <= data
    }

    /// Takes up the new connection of `opener`, whose SYN was remembered and is answered by `answer`.
    fn take_up(&mut self, opener: End, answer: &Tcp) -> SegmentAction {
        let scale = (self.offer & Offer::SCALE).bits();
        let scales = match opener {
            End::Near => scale | UNSCALED << 4,
            End::Far => UNSCALED | scale << 4,
        };
        *self = TcpTracker { scales, ..TcpTracker::default() };
        // Of its window nothing is known but what it can be at most.
        let limit = u32::from(u16::MAX);
        *self.half_mut(opener) = Half { sent: answer.acknowledgement, acknowledged: 0, limit };
        self.half_mut(opener.other()).acknowledged = answer.acknowledgement.wrapping_sub(1);
        self.first_answer(opener, answer)
    }

    /// The opener has taken another answer to its SYN than the first that passed: the one that was remembered. It is
    /// another server's behind one address, or the same one's that had forgotten the first SYN.
    fn take_other_answer(&mut self, opener: End, acknowledgement: &Tcp) {
        let responder = opener.other();
        self.set_scale(responder, (self.offer & Offer::SCALE).bits());
        self.offer = Offer::empty();
        let (taken, sent) = (self.half(responder).acknowledged, acknowledgement.acknowledgement);
        // Of its window nothing is known but what it can be at most.
        let limit = taken.wrapping_add(u32::from(u16::MAX));
        *self.half_mut(responder) = Half { sent, acknowledged: taken, limit };
        let own = self.half_mut(opener);
        own.acknowledged = sent.wrapping_sub(1);
        own.limit = own.acknowledged;
    }

    /// A RST or SYN on a connection that both ends may believe open.
    #[inline(never)]
    fn syn_or_reset(&mut self, opener: End, sender: End, segment: &Tcp) -> SegmentAction {
        if segment.flags.contains(Flags::RST) {
            // A refusal of a SYN shows that nobody knows the connection there.
            let ends = self.closes(sender, segment) || self.answers_offer(sender, segment);
            return if ends { SegmentAction::Restart(TcpStage::Reset) } else { SegmentAction::Keep };
        }
        if segment.opens() {
            if sender != opener {
                return SegmentAction::Turn;
            }
            // Its receiver answers with a challenge if it knows the connection (RFC 5961 section 4).
            self.remember(sender, segment);
        } else if self.answers_offer(sender, segment) {
            return if sender == opener { SegmentAction::Renounce } else { self.take_up(opener, segment) };
        }
        SegmentAction::Keep
    }

    /// Whether a segment of `sender` can be from that end: it begins near the other end's window, and
    /// acknowledges nothing that was not sent.
    #[inline(always)]
    const fn fits(&self, sender: End, segment: &Tcp) -> bool {
        let receiver = self.half(sender.other());
        within(segment.sequence, receiver.acknowledged.wrapping_sub(SLACK), receiver.limit)
            && (!segment.flags.contains(Flags::ACK) || self.can_acknowledge(sender, segment))
    }

    /// Whether `sender` can acknowledge what `segment` does.
    #[inline(always)]
    const fn can_acknowledge(&self, sender: End, segment: &Tcp) -> bool {
        let (own, receiver) = (self.half(sender), self.half(sender.other()));
        within(segment.acknowledgement, own.acknowledged.wrapping_sub(SLACK), receiver.sent)
    }

    /// Takes over what a segment that fits says.
    #[inline(always)]
    fn update(&mut self, sender: End, segment: &Tcp) {
        let window = self.window(sender, segment);
        let own = self.half_mut(sender);
        if is_after(segment.end(), own.sent) {
            own.sent = segment.end();
        }
        if segment.flags.contains(Flags::ACK) {
            if is_after(segment.acknowledgement, own.acknowledged) {
                own.acknowledged = segment.acknowledgement;
            }
            let limit = segment.acknowledgement.wrapping_add(window);
            if is_after(limit, own.limit) {
                own.limit = limit;
            }
        }
    }

    /// Whether a packet with this `sequence` that `sender` sent may still be on its way: what an ICMP error
    /// about it must quote (RFC 5927 section 4.1).
    pub const fn is_in_flight(&self, sender: End, sequence: u32) -> bool {
        let own = self.half(sender);
        let begins = self.half(sender.other()).acknowledged.wrapping_sub(SLACK);
        let is_offer = self.offer.contains(Self::offer_of(sender)) && sequence as u16 == self.offered;
        within(sequence, begins, own.sent) || is_offer
    }

    /// Takes a `segment` that `sender` sent on a connection of `opener` that is at `stage`.
    #[inline(always)]
    pub fn step(&mut self, stage: TcpStage, opener: End, sender: End, segment: &Tcp) -> SegmentAction {
        if stage.is_assured() {
            return self.open_connection(stage, opener, sender, segment);
        }
        // A copy, so that the one of an open connection stays in registers.
        self.step_at_an_end(stage, opener, sender, &{ *segment })
    }

    /// As [`TcpTracker::step`], while a connection opens and after it closed.
    #[inline(never)]
    fn step_at_an_end(&mut self, stage: TcpStage, opener: End, sender: End, segment: &Tcp) -> SegmentAction {
        match stage {
            TcpStage::SynSent if sender == opener => self.opener_speaks(opener, segment),
            TcpStage::SynSent => self.first_answer(opener, segment),
            TcpStage::SynSent2 | TcpStage::SynReceived => self.handshake(stage, opener, sender, segment),
            TcpStage::Established | TcpStage::NearFinReceived | TcpStage::FarFinReceived => {
                self.open_connection(stage, opener, sender, segment)
            }
            TcpStage::BothFinReceived | TcpStage::Reset if segment.opens() => {
                if sender == opener {
                    SegmentAction::Reopen
                } else {
                    SegmentAction::Turn
                }
            }
            TcpStage::BothFinReceived => SegmentAction::Keep,
            TcpStage::Reset => self.after_reset(sender, segment),
        }
    }

    /// The opener again, before anybody answered it.
    fn opener_speaks(&mut self, opener: End, segment: &Tcp) -> SegmentAction {
        if segment.opens() {
            let sent = self.half(opener).sent;
            let again = segment.sequence == self.half(opener.other()).acknowledged;
            *self = TcpTracker::open(opener, segment);
            if again && is_after(sent, segment.end()) {
                // It is sent again without the data of the first, which may still arrive and be taken.
                self.half_mut(opener).sent = sent;
            }
            SegmentAction::Restart(TcpStage::SynSent)
        } else if segment.flags.contains(Flags::RST) {
            if self.takes_syn(opener, segment.sequence) {
                SegmentAction::Restart(TcpStage::Reset)
            } else {
                SegmentAction::Keep
            }
        } else {
            SegmentAction::Refuse
        }
    }

    /// The other end's first segment.
    fn first_answer(&mut self, opener: End, segment: &Tcp) -> SegmentAction {
        let acknowledges =
            segment.flags.contains(Flags::ACK) && self.takes_syn(opener, segment.acknowledgement);
        let responder = opener.other();
        if segment.flags.contains(Flags::RST) {
            return if acknowledges { SegmentAction::Restart(TcpStage::Reset) } else { SegmentAction::Keep };
        }
        if !segment.flags.contains(Flags::SYN) || (segment.flags.contains(Flags::ACK) && !acknowledges) {
            // A challenge for an older connection between these ports: the opener answers it with a RST, which passes.
            return SegmentAction::Keep;
        }
        let opened_at = self.half(responder).acknowledged;
        self.begin(responder, segment);
        self.nothing_received(opener, segment.sequence);
        if segment.opens() {
            self.nothing_received(responder, opened_at);
            return SegmentAction::Restart(TcpStage::SynSent2);
        }
        let window = u32::from(segment.window);
        let half = self.half_mut(responder);
        half.acknowledged = segment.acknowledgement;
        half.limit = segment.acknowledgement.wrapping_add(window);
        SegmentAction::Restart(TcpStage::SynReceived)
    }

    /// Both ends sent a SYN; the handshake is complete when both were acknowledged.
    fn handshake(&mut self, stage: TcpStage, opener: End, sender: End, segment: &Tcp) -> SegmentAction {
        let is_answer = segment.flags.contains(Flags::SYN) && self.answers_offer(sender, segment);
        let opens = segment.opens() && (sender == opener || stage == TcpStage::SynReceived);
        if segment.flags.contains(Flags::RST) || opens || is_answer {
            return self.syn_or_reset(opener, sender, segment);
        }
        let is_answered = stage == TcpStage::SynReceived;
        if is_answered
            && sender != opener
            && segment.flags.contains(Flags::SYN)
            && self.can_acknowledge(sender, segment)
        {
            // If it is another answer than the first, it depends on the opener which of them counts.
            self.remember(sender, segment);
        }
        if is_answered
            && sender == opener
            && !self.fits(sender, segment)
            && self.answers_offer(sender, segment)
        {
            self.take_other_answer(opener, segment);
        }
        if !self.fits(sender, segment) {
            return SegmentAction::Keep;
        }
        let takes_first = segment.flags.contains(Flags::ACK)
            && is_after(segment.acknowledgement, self.half(sender).acknowledged);
        self.update(sender, segment);
        if is_answered {
            if sender != opener || !segment.flags.contains(Flags::ACK) {
                return SegmentAction::Restart(stage);
            }
        } else if sender == opener || !takes_first {
            return SegmentAction::Restart(stage);
        } else if self.half(opener).acknowledged != self.half(sender).sent {
            // The other end has the opener's SYN; what it sent itself the opener has still to take.
            return SegmentAction::Restart(TcpStage::SynReceived);
        }
        if segment.flags.contains(Flags::SYN) {
            return SegmentAction::Restart(TcpStage::Established);
        }
        self.open_connection(TcpStage::Established, opener, sender, segment)
    }

    /// Data, FIN or RST on an open connection.
    #[inline(always)]
    fn open_connection(&mut self, stage: TcpStage, opener: End, sender: End, segment: &Tcp) -> SegmentAction {
        if segment.flags.intersects(Flags::RST | Flags::SYN) {
            return self.syn_or_reset(opener, sender, &{ *segment });
        }
        if !self.fits(sender, segment) {
            return SegmentAction::Restart(stage);
        }
        self.update(sender, segment);
        if !segment.flags.contains(Flags::FIN) {
            return SegmentAction::Restart(stage);
        }
        SegmentAction::Restart(match (stage, sender) {
            (TcpStage::FarFinReceived, End::Near) | (TcpStage::NearFinReceived, End::Far) => {
                TcpStage::BothFinReceived
            }
            (_, End::Near) => TcpStage::NearFinReceived,
            (_, End::Far) => TcpStage::FarFinReceived,
        })
    }

    /// A segment after a RST: one that fits shows that the RST was not believed (conformance TT-3).
    fn after_reset(&mut self, sender: End, segment: &Tcp) -> SegmentAction {
        let alive = !segment.flags.intersects(Flags::RST | Flags::SYN) && self.fits(sender, segment);
        if alive {
            self.update(sender, segment);
            SegmentAction::Restart(TcpStage::Established)
        } else {
            SegmentAction::Keep
        }
    }
}
