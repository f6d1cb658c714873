//! Whether packets are taken from a client: while what it sent before has not left by the uplink, they wait where they are.
//!
//! A packet that waits in its sender's ring costs nothing and slows its sender down, and it alone; one that is taken and
//! then finds no room was copied for nothing. But an uplink that does not move, or hardly moves, must not stop clients
//! from reaching each other and the firewall: then packets are taken again, and those for the uplink that find no room
//! are dropped.

use crate::base::time::Moment;
use crate::route::segmentation::LEAST_SEGMENT;
use crate::vif::features::Support;
use crate::vif::lifecycle::frontend::Link;
use crate::vif::slots::{MAX_SLOTS, TxPacket};
use crate::wire::ethernet::HEADER_BYTES;
use crate::wire::packet::Gso;
use crate::wire::{ipv4, tcp};
use core::time::Duration;

/// Fewest slots of room on the way to the uplink for which packets are taken from a client: more than the largest
/// packet takes up that leaves as it came.
pub const LEAST_ROOM: usize = MAX_SLOTS + 1;

/// How long clients wait for an uplink that answers nothing.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long what waits for the uplink may take to leave; an uplink that takes longer counts as one that does not move.
/// In a client's ring as much waits again, and among that are packets for other clients and for the firewall.
const TURNOVER: Duration = Duration::from_secs(2);

/// Whether packets are taken from a client at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// They are, up to so many slots in one pass.
    Slots(usize),
    /// They wait.
    Wait,
}

impl Budget {
    /// What is taken from a client that has `room` on the way to the uplink, in slots.
    pub fn of(flow: Drain, room: usize) -> Self {
        match flow {
            Drain::Stalled => Self::Slots(usize::MAX),
            Drain::Moving if room < LEAST_ROOM => Self::Wait,
            Drain::Moving => Self::Slots(room),
        }
    }

    /// Slots that may be taken in one pass.
    pub fn slots(self) -> usize {
        match self {
            Self::Slots(slots) => slots,
            Self::Wait => 0,
        }
    }
}

/// What decides how packets leave by the uplink: in pieces if its backend does not segment them, or they are larger
/// than its MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressLimits {
    /// Whether the backend takes packets that are still to be segmented.
    pub segmentation: Support,
    /// Bytes of the largest IP packet.
    pub mtu: u16,
}

impl EgressLimits {
    /// Slots that a packet takes up until it has left: those it came in, and, if it leaves in pieces, one more for each
    /// piece, which takes a page and a slot of its own.
    #[inline(always)]
    pub fn slots(self, packet: &TxPacket) -> usize {
        let came_in = packet.slots.len() + packet.answers.extras;
        match packet.offload.gso {
            None if usize::from(packet.bytes) <= usize::from(self.mtu) + HEADER_BYTES => came_in,
            Some(_) if self.segmentation == Support::Yes => came_in,
            gso => came_in + self.pieces(packet.bytes, gso),
        }
    }

    /// Pieces that a frame of so many bytes leaves in if its headers are the usual ones.
    #[inline(never)]
    fn pieces(self, bytes: u16, gso: Option<Gso>) -> usize {
        let (headers, each) = match gso {
            Some(gso) => {
                let headers = ipv4::HEADER_BYTES + tcp::HEADER_BYTES;
                let most = usize::from(self.mtu).saturating_sub(headers);
                (headers, usize::from(gso.segment_bytes.get()).min(most).max(LEAST_SEGMENT.into()))
            }
            // Fragments but the last are a multiple of 8 bytes (RFC 791 section 3.2).
            None => {
                let most = usize::from(self.mtu).saturating_sub(ipv4::HEADER_BYTES);
                (ipv4::HEADER_BYTES, (most & !7).max(8))
            }
        };
        usize::from(bytes).saturating_sub(HEADER_BYTES + headers).div_ceil(each)
    }
}

/// Whether it is worth waiting for the uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It takes what it is given.
    Moving,
    /// It does not, or it is not there.
    Stalled,
}

/// Watches whether the uplink moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backpressure {
    /// Nothing waits for it.
    #[default]
    Idle,
    /// Frames wait.
    Watching(UplinkWatch),
}

/// An uplink that frames wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkWatch {
    /// Slots that it had answered when it was last looked at.
    answered: u32,
    /// When it last answered, or the first frame had to wait.
    moved: Moment,
    /// When it was last noted how much waits.
    noted: Moment,
    /// What `answered` will be when all that waited then has left.
    goal: u32,
    /// Whether what was noted before left in time.
    pace: Drain,
}

impl UplinkWatch {
    fn new(backlog: u32, answered: u32, now: Moment) -> Self {
        Self { answered, moved: now, noted: now, goal: answered.wrapping_add(backlog), pace: Drain::Moving }
    }

    fn look(&mut self, backlog: u32, answered: u32, now: Moment) {
        if answered != self.answered {
            (self.answered, self.moved) = (answered, now);
        }
        let has_left = answered.wrapping_sub(self.goal) as i32 >= 0;
        let is_late = now >= self.noted + TURNOVER;
        if has_left || is_late {
            self.pace = if is_late { Drain::Stalled } else { Drain::Moving };
            (self.noted, self.goal) = (now, answered.wrapping_add(backlog));
        }
    }

    fn flow(&self, now: Moment) -> Drain {
        if now >= self.moved + PATIENCE { Drain::Stalled } else { self.pace }
    }
}

impl Backpressure {
    /// Looks at the uplink: whether its backend has taken up the rings, slots that it has to answer until what waits now
    /// has left, and how many it has answered.
    pub fn look(&mut self, link: Link, backlog: usize, answered: u32, now: Moment) -> Drain {
        // Nobody waits for a backend that is not there yet.
        if backlog == 0 || link == Link::Down {
            *self = Self::Idle;
            return if link == Link::Down { Drain::Stalled } else { Drain::Moving };
        }
        let backlog = u32::try_from(backlog).unwrap_or(u32::MAX);
        let watch = match self {
            Self::Watching(watch) => {
                watch.look(backlog, answered, now);
                *watch
            }
            Self::Idle => UplinkWatch::new(backlog, answered, now),
        };
        *self = Self::Watching(watch);
        watch.flow(now)
    }

    /// When it is to be looked at again without an event, if clients wait for it at `now`.
    pub fn deadline(self, now: Moment) -> Option<Moment> {
        match self {
            Self::Watching(watch) if watch.flow(now) == Drain::Moving => {
                Some((watch.moved + PATIENCE).min(watch.noted + TURNOVER))
            }
            Self::Watching(_) | Self::Idle => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ops::Range;
    use std::vec::Vec;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanoseconds(milliseconds * 1_000_000)
    }

    #[test]
    fn a_client_waits_while_it_has_no_room_on_the_way_to_the_uplink() {
        assert_eq!(Budget::of(Drain::Moving, 200), Budget::Slots(200));
        assert_eq!(Budget::of(Drain::Moving, 19), Budget::Slots(19));
        assert_eq!(Budget::of(Drain::Moving, 18), Budget::Wait);
        assert_eq!(Budget::of(Drain::Stalled, 0), Budget::Slots(usize::MAX));
    }

    /// What is said of an uplink for which `backlog` slots always wait, and that answers one every so many milliseconds;
    /// it is looked at every ten.
    fn flows(every: u64, backlog: usize, milliseconds: Range<u64>) -> Vec<Drain> {
        let mut gate = Backpressure::default();
        let mut look = |ms| {
            gate.look(Link::Up, backlog, u32::MAX.wrapping_sub(50).wrapping_add((ms / every) as u32), at(ms))
        };
        let all = (0..milliseconds.end).step_by(10).map(|ms| (ms, look(ms)));
        all.filter(|(ms, _)| milliseconds.contains(ms)).map(|(_, flow)| flow).collect()
    }

    #[test]
    fn clients_wait_for_an_uplink_that_takes_what_waits_within_two_seconds() {
        assert!(flows(10, 190, 0..20_000).iter().all(|flow| *flow == Drain::Moving));
        assert!(flows(90, 20, 0..20_000).iter().all(|flow| *flow == Drain::Moving));
    }

    #[test]
    fn s_5_clients_do_not_wait_for_an_uplink_that_moves_as_good_as_not() {
        for (every, backlog) in [(10, 210), (90, 256), (20, 256)] {
            assert!(flows(every, backlog, 0..2_000).iter().all(|flow| *flow == Drain::Moving));
            assert!(flows(every, backlog, 2_000..20_000).iter().all(|flow| *flow == Drain::Stalled));
        }
    }

    #[test]
    fn s_5_clients_wait_again_when_what_waited_left_in_time() {
        let mut gate = Backpressure::default();
        gate.look(Link::Up, 100, 0, at(0));
        assert_eq!(gate.deadline(at(0)), Some(at(100)));
        for ms in (50..2000).step_by(50) {
            assert_eq!(gate.look(Link::Up, 100, ms as u32 / 50, at(ms)), Drain::Moving);
        }
        assert_eq!(gate.deadline(at(1950)), Some(at(2000)));
        assert_eq!(gate.look(Link::Up, 100, 40, at(2000)), Drain::Stalled);
        assert_eq!(gate.deadline(at(2000)), None);
        assert_eq!(gate.look(Link::Up, 100, 139, at(2050)), Drain::Stalled);
        assert_eq!(gate.look(Link::Up, 100, 140, at(2051)), Drain::Moving);
        assert_eq!(gate.look(Link::Up, 0, 140, at(2052)), Drain::Moving);
        assert_eq!(gate.deadline(at(2052)), None);
    }

    #[test]
    fn clients_do_not_wait_for_an_uplink_that_stands_still() {
        let mut gate = Backpressure::default();
        gate.look(Link::Up, 9, 7, at(0));
        assert_eq!(gate.look(Link::Up, 9, 7, at(99)), Drain::Moving);
        assert_eq!(gate.look(Link::Up, 9, 7, at(100)), Drain::Stalled);
        assert_eq!(gate.deadline(at(100)), None);
        assert_eq!(gate.look(Link::Up, 9, 8, at(1000)), Drain::Moving);
        assert_eq!(gate.look(Link::Up, 9, 8, at(1100)), Drain::Stalled);
        assert_eq!(gate.look(Link::Up, 9, 8, at(5000)), Drain::Stalled);
        // For so long that it has to show first how fast it is.
        assert_eq!(gate.look(Link::Up, 9, 9, at(5001)), Drain::Stalled);
        assert_eq!(gate.look(Link::Up, 9, 17, at(5002)), Drain::Moving);
        assert_eq!(gate.look(Link::Up, 9, 17, at(5102)), Drain::Stalled);
    }

    #[test]
    fn nobody_waits_for_a_backend_that_has_not_taken_up_the_rings() {
        let mut gate = Backpressure::default();
        assert_eq!(gate.look(Link::Down, 9, 0, at(0)), Drain::Stalled);
        assert_eq!(gate.deadline(at(0)), None);
        gate.look(Link::Up, 9, 0, at(1));
        assert_eq!(gate.look(Link::Down, 9, 0, at(2)), Drain::Stalled);
        assert_eq!(gate.deadline(at(2)), None);
    }
}
