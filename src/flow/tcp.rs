//! The state of a TCP connection as a firewall between its ends sees it (RFC 7857 section 2).
//!
//! The tracking is light: it decides which timeout holds and whether a RST, FIN or ICMP error can be from the
//! connection's own ends; it never judges data by its sequence numbers. Each end's half remembers what that
//! end sent and what it is ready to receive, and is only updated by segments that fit the other half, so
//! that somebody who guesses addresses and ports alone cannot move it (the idea of RFC 5961).

use super::record::End;
use crate::wire::tcp::{Flags, Tcp};

/// How far a connection is. "Opener" is the end that sent the first SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpStage {
    /// The opener's SYN passed.
    Opening,
    /// Both ends sent a SYN without ACK (simultaneous open, RFC 9293 section 3.5).
    Crossed,
    /// The other end's acknowledgement of that SYN passed, with its own SYN.
    Answered,
    /// The handshake is complete.
    Established,
    /// The near end sent its FIN.
    NearFinished,
    /// The far end sent its FIN.
    FarFinished,
    /// Both ends sent their FIN.
    Closed,
    /// One end sent a RST that was in its window.
    Reset,
}

impl TcpStage {
    /// Every stage, in order.
    pub const ALL: [TcpStage; TcpStage::COUNT] = [
        TcpStage::Opening,
        TcpStage::Crossed,
        TcpStage::Answered,
        TcpStage::Established,
        TcpStage::NearFinished,
        TcpStage::FarFinished,
        TcpStage::Closed,
        TcpStage::Reset,
    ];

    /// How many there are.
    pub const COUNT: usize = 8;

    /// Whether the connection may not be sacrificed for a newer one of the same client.
    pub const fn is_assured(self) -> bool {
        matches!(self, TcpStage::Established | TcpStage::NearFinished | TcpStage::FarFinished)
    }
}

/// What a segment means to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It passes, and the timeout of this stage starts anew.
    Restart(TcpStage),
    /// It passes and changes nothing.
    Keep,
    /// It opens a new connection between the same ends: the old one is to be forgotten first.
    Reopen,
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
pub struct Track {
    near: Half,
    far: Half,
    /// Window scale of the near end in the low nibble, of the far end in the high one.
    scales: u8,
}

/// Whether `number` lies in `first..=last`, in sequence space.
const fn within(number: u32, first: u32, last: u32) -> bool {
    number.wrapping_sub(first) <= last.wrapping_sub(first)
}

/// Whether `a` is after `b` in sequence space.
const fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

impl Track {
    /// The state after the `opener`'s SYN.
    pub fn open(opener: End, syn: &Tcp) -> Track {
        let mut track = Track { scales: UNSCALED | UNSCALED << 4, ..Track::default() };
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

    /// Notes the SYN of `end`.
    fn begin(&mut self, end: End, syn: &Tcp) {
        let scale = syn.window_scale.unwrap_or(UNSCALED);
        self.scales = match end {
            End::Near => self.scales & 0xF0 | scale,
            End::Far => self.scales & 0x0F | scale << 4,
        };
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

    /// Whether a segment of `sender` can be from that end: it begins near the other end's window, and
    /// acknowledges nothing that was not sent.
    #[inline(always)]
    const fn fits(&self, sender: End, segment: &Tcp) -> bool {
        let receiver = self.half(sender.other());
        let own = self.half(sender);
        within(segment.sequence, receiver.acknowledged.wrapping_sub(SLACK), receiver.limit)
            && (!segment.flags.contains(Flags::ACK)
                || within(segment.acknowledgement, own.acknowledged.wrapping_sub(SLACK), receiver.sent))
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
        within(sequence, begins, own.sent)
    }

    /// Takes a `segment` that `sender` sent on a connection of `opener` that is at `stage`.
    #[inline(always)]
    pub fn step(&mut self, stage: TcpStage, opener: End, sender: End, segment: &Tcp) -> Step {
        if stage.is_assured() {
            return self.open_connection(stage, sender, segment);
        }
        // A copy, so that the one of an open connection stays in registers.
        self.step_at_an_end(stage, opener, sender, &{ *segment })
    }

    /// As [`Track::step`], while a connection opens and after it closed.
    #[inline(never)]
    fn step_at_an_end(&mut self, stage: TcpStage, opener: End, sender: End, segment: &Tcp) -> Step {
        match stage {
            TcpStage::Opening if sender == opener => self.opener_speaks(opener, segment),
            TcpStage::Opening => self.first_answer(opener, segment),
            TcpStage::Crossed | TcpStage::Answered => self.handshake(stage, opener, sender, segment),
            TcpStage::Established | TcpStage::NearFinished | TcpStage::FarFinished => {
                self.open_connection(stage, sender, segment)
            }
            TcpStage::Closed | TcpStage::Reset if segment.opens() => {
                if sender == opener {
                    Step::Reopen
                } else {
                    Step::Refuse
                }
            }
            TcpStage::Closed => Step::Keep,
            TcpStage::Reset => self.after_reset(sender, segment),
        }
    }

    /// The opener again, before anybody answered it.
    fn opener_speaks(&mut self, opener: End, segment: &Tcp) -> Step {
        if segment.opens() {
            let sent = self.half(opener).sent;
            let again = segment.sequence == self.half(opener.other()).acknowledged;
            *self = Track::open(opener, segment);
            if again && is_after(sent, segment.end()) {
                // It is sent again without the data of the first, which may still arrive and be taken.
                self.half_mut(opener).sent = sent;
            }
            Step::Restart(TcpStage::Opening)
        } else if segment.flags.contains(Flags::RST) {
            if self.takes_syn(opener, segment.sequence) { Step::Restart(TcpStage::Reset) } else { Step::Keep }
        } else {
            Step::Refuse
        }
    }

    /// The other end's first segment.
    fn first_answer(&mut self, opener: End, segment: &Tcp) -> Step {
        let acknowledges =
            segment.flags.contains(Flags::ACK) && self.takes_syn(opener, segment.acknowledgement);
        let responder = opener.other();
        if segment.flags.contains(Flags::RST) {
            return if acknowledges { Step::Restart(TcpStage::Reset) } else { Step::Keep };
        }
        if !segment.flags.contains(Flags::SYN) || (segment.flags.contains(Flags::ACK) && !acknowledges) {
            // A challenge for an older connection between these ports: the opener answers it with a RST, which passes.
            return Step::Keep;
        }
        let opened_at = self.half(responder).acknowledged;
        self.begin(responder, segment);
        self.nothing_received(opener, segment.sequence);
        if segment.opens() {
            self.nothing_received(responder, opened_at);
            return Step::Restart(TcpStage::Crossed);
        }
        let window = u32::from(segment.window);
        let half = self.half_mut(responder);
        half.acknowledged = segment.acknowledgement;
        half.limit = segment.acknowledgement.wrapping_add(window);
        Step::Restart(TcpStage::Answered)
    }

    /// Both ends sent a SYN; the handshake is complete when both were acknowledged.
    fn handshake(&mut self, stage: TcpStage, opener: End, sender: End, segment: &Tcp) -> Step {
        if segment.flags.contains(Flags::RST) {
            return if self.closes(sender, segment) { Step::Restart(TcpStage::Reset) } else { Step::Keep };
        }
        if segment.opens() && sender == opener {
            return Step::Keep;
        }
        if !self.fits(sender, segment) {
            return Step::Keep;
        }
        let takes_first = segment.flags.contains(Flags::ACK)
            && is_after(segment.acknowledgement, self.half(sender).acknowledged);
        self.update(sender, segment);
        if stage == TcpStage::Answered {
            if sender != opener || !segment.flags.contains(Flags::ACK) {
                return Step::Restart(stage);
            }
        } else if sender == opener || !takes_first {
            return Step::Restart(stage);
        } else if self.half(opener).acknowledged != self.half(sender).sent {
            // The other end has the opener's SYN; what it sent itself the opener has still to take.
            return Step::Restart(TcpStage::Answered);
        }
        if segment.flags.contains(Flags::SYN) {
            return Step::Restart(TcpStage::Established);
        }
        self.open_connection(TcpStage::Established, sender, segment)
    }

    /// Data, FIN or RST on an open connection.
    #[inline(always)]
    fn open_connection(&mut self, stage: TcpStage, sender: End, segment: &Tcp) -> Step {
        if segment.flags.contains(Flags::RST) {
            return if self.closes(sender, segment) { Step::Restart(TcpStage::Reset) } else { Step::Keep };
        }
        if segment.flags.contains(Flags::SYN) {
            // A SYN on an open connection is answered with a challenge by its receiver (RFC 5961 section 4).
            return Step::Keep;
        }
        if !self.fits(sender, segment) {
            return Step::Restart(stage);
        }
        self.update(sender, segment);
        if !segment.flags.contains(Flags::FIN) {
            return Step::Restart(stage);
        }
        Step::Restart(match (stage, sender) {
            (TcpStage::FarFinished, End::Near) | (TcpStage::NearFinished, End::Far) => TcpStage::Closed,
            (_, End::Near) => TcpStage::NearFinished,
            (_, End::Far) => TcpStage::FarFinished,
        })
    }

    /// A segment after a RST: one that fits shows that the RST was not believed (conformance TT-3).
    fn after_reset(&mut self, sender: End, segment: &Tcp) -> Step {
        let alive = !segment.flags.intersects(Flags::RST | Flags::SYN) && self.fits(sender, segment);
        if alive {
            self.update(sender, segment);
            Step::Restart(TcpStage::Established)
        } else {
            Step::Keep
        }
    }
}
