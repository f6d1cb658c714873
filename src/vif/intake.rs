//! Whether packets are taken from a client: while what it sent before has not left by the uplink, they wait where they are.
//!
//! A packet that waits in its sender's ring costs nothing and slows its sender down, and it alone; one that is taken and
//! then finds no room was copied for nothing. But an uplink that does not move must not stop clients from reaching each
//! other and the firewall: then packets are taken again, and what is for the uplink is dropped.

use crate::time::Moment;
use crate::vif::lifecycle::frontend::Link;
use crate::vif::slots::MAX_SLOTS;
use core::time::Duration;

/// A client has no room when it cannot be given that of a packet of the largest kind.
pub const LEAST_ROOM: usize = MAX_SLOTS + 1;

/// How long clients wait for an uplink that does not move.
const PATIENCE: Duration = Duration::from_millis(100);

/// Whether packets are taken from a client at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// They are, up to so many slots in one round.
    Open(usize),
    /// They wait.
    Held,
}

impl Intake {
    /// What is taken from a client that has `room` on the way to the uplink, in slots.
    pub fn of(flow: Flow, room: usize) -> Self {
        match flow {
            Flow::Stalled => Self::Open(usize::MAX),
            Flow::Moving if room < LEAST_ROOM => Self::Held,
            Flow::Moving => Self::Open(room),
        }
    }

    /// Slots that may be taken in one round.
    pub fn slots(self) -> usize {
        match self {
            Self::Open(slots) => slots,
            Self::Held => 0,
        }
    }
}

/// Whether it is worth waiting for the uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It takes what it is given.
    Moving,
    /// It does not, or it is not there.
    Stalled,
}

/// Watches whether the uplink moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// Nothing waits for it.
    #[default]
    Idle,
    /// Frames wait, and it has answered nothing since then.
    Waiting {
        /// When it last answered, or the first frame had to wait.
        since: Moment,
        /// Slots that it had answered.
        answered: u32,
    },
    /// It has answered nothing for longer than clients wait.
    Stalled {
        /// Slots that it had answered.
        answered: u32,
    },
}

impl Gate {
    /// Looks at the uplink: whether its backend has taken up the rings, frames that wait for it, and how many slots it
    /// has answered.
    pub fn look(&mut self, link: Link, waiting: usize, answered: u32, now: Moment) -> Flow {
        *self =
            match *self {
                _ if waiting == 0 || link == Link::Down => Self::Idle,
                Self::Waiting { since, answered: before } if before == answered => {
                    if now >= since + PATIENCE { Self::Stalled { answered } } else { *self }
                }
                Self::Stalled { answered: before } if before == answered => *self,
                _ => Self::Waiting { since: now, answered },
            };
        match (*self, link) {
            // Nobody waits for a backend that is not there yet.
            (_, Link::Down) | (Self::Stalled { .. }, _) => Flow::Stalled,
            _ => Flow::Moving,
        }
    }

    /// When it is to be looked at again without an event.
    pub fn deadline(self) -> Option<Moment> {
        match self {
            Self::Waiting { since, .. } => Some(since + PATIENCE),
            Self::Idle | Self::Stalled { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanoseconds(milliseconds * 1_000_000)
    }

    #[test]
    fn a_client_waits_while_it_has_no_room_on_the_way_to_the_uplink() {
        assert_eq!(Intake::of(Flow::Moving, 200), Intake::Open(200));
        assert_eq!(Intake::of(Flow::Moving, 19), Intake::Open(19));
        assert_eq!(Intake::of(Flow::Moving, 18), Intake::Held);
        assert_eq!(Intake::of(Flow::Stalled, 0), Intake::Open(usize::MAX));
    }

    #[test]
    fn clients_wait_for_an_uplink_that_moves_however_slowly() {
        let mut gate = Gate::default();
        assert_eq!(gate.look(Link::Up, 0, 0, at(0)), Flow::Moving);
        assert_eq!(gate.deadline(), None);
        for answered in 0..100 {
            assert_eq!(gate.look(Link::Up, 9, answered, at(99 * u64::from(answered))), Flow::Moving);
        }
        assert_eq!(gate.deadline(), Some(at(99 * 99 + 100)));
        assert_eq!(gate.look(Link::Up, 0, 99, at(99 * 99 + 1)), Flow::Moving);
        assert_eq!(gate.deadline(), None);
    }

    #[test]
    fn clients_do_not_wait_for_an_uplink_that_stands_still() {
        let mut gate = Gate::default();
        gate.look(Link::Up, 9, 7, at(0));
        assert_eq!(gate.look(Link::Up, 9, 7, at(99)), Flow::Moving);
        assert_eq!(gate.look(Link::Up, 9, 7, at(100)), Flow::Stalled);
        assert_eq!(gate.deadline(), None);
        assert_eq!(gate.look(Link::Up, 9, 7, at(5000)), Flow::Stalled);
        assert_eq!(gate.look(Link::Up, 9, 8, at(5001)), Flow::Moving);
        assert_eq!(gate.look(Link::Up, 9, 8, at(5101)), Flow::Stalled);
    }

    #[test]
    fn nobody_waits_for_a_backend_that_has_not_taken_up_the_rings() {
        let mut gate = Gate::default();
        assert_eq!(gate.look(Link::Down, 9, 0, at(0)), Flow::Stalled);
        assert_eq!(gate.deadline(), None);
        gate.look(Link::Up, 9, 0, at(1));
        assert_eq!(gate.look(Link::Down, 9, 0, at(2)), Flow::Stalled);
        assert_eq!(gate.deadline(), None);
    }
}
