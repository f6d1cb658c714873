//! Whether packets are taken from clients: while the uplink's ring is full they wait where they are.
//!
//! A packet that waits in its sender's ring costs nothing and slows its sender down; one that is taken and then
//! finds the ring full was copied for nothing. But an uplink that does not move must not stop clients from
//! reaching each other and the firewall: then packets are taken again, and what is for the uplink is dropped.

use crate::time::Moment;
use crate::vif::lifecycle::frontend::Link;
use crate::vif::slots::MAX_SLOTS;
use core::time::Duration;

/// The uplink's ring has no room when it cannot take a packet of the largest kind.
const LEAST_ROOM: usize = MAX_SLOTS + 1;

/// How long clients wait for an uplink that does not move.
const PATIENCE: Duration = Duration::from_millis(100);

/// Whether packets are taken from clients at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// They are, up to so many slots in one round.
    Open(usize),
    /// They wait.
    Held,
}

impl Intake {
    /// Slots that may be taken in one round.
    pub fn slots(self) -> usize {
        match self {
            Self::Open(slots) => slots,
            Self::Held => 0,
        }
    }
}

/// Decides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// The uplink has room, or there is none.
    #[default]
    Open,
    /// It has none since then.
    Full(Moment),
    /// It has had none for longer than clients wait.
    Stalled,
}

impl Gate {
    /// Looks at the uplink: whether its backend has taken up the rings, and their room in slots.
    pub fn look(&mut self, link: Link, room: usize, now: Moment) -> Intake {
        // Nobody waits for a backend that is not there yet.
        let is_full = link == Link::Up && room < LEAST_ROOM;
        *self = match *self {
            _ if !is_full => Self::Open,
            Self::Open => Self::Full(now),
            Self::Full(since) if now >= since + PATIENCE => Self::Stalled,
            shut => shut,
        };
        match (*self, link) {
            (Self::Full(_), _) => Intake::Held,
            (Self::Open, Link::Up) => Intake::Open(room),
            (Self::Open, Link::Down) | (Self::Stalled, _) => Intake::Open(usize::MAX),
        }
    }

    /// When it is to be looked at again without an event.
    pub fn deadline(self) -> Option<Moment> {
        match self {
            Self::Full(since) => Some(since + PATIENCE),
            Self::Open | Self::Stalled => None,
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
    fn clients_wait_for_a_full_uplink_and_go_on_when_it_has_room() {
        let mut gate = Gate::default();
        assert_eq!(gate.look(Link::Up, 200, at(0)), Intake::Open(200));
        assert_eq!(gate.look(Link::Up, 18, at(1)), Intake::Held);
        assert_eq!(gate.deadline(), Some(at(101)));
        assert_eq!(gate.look(Link::Up, 0, at(100)), Intake::Held);
        assert_eq!(gate.look(Link::Up, 19, at(100)), Intake::Open(19));
        assert_eq!(gate.deadline(), None);
    }

    #[test]
    fn clients_do_not_wait_for_an_uplink_that_stands_still() {
        let mut gate = Gate::default();
        gate.look(Link::Up, 0, at(0));
        assert_eq!(gate.look(Link::Up, 0, at(100)), Intake::Open(usize::MAX));
        assert_eq!(gate.deadline(), None);
        assert_eq!(gate.look(Link::Up, 0, at(5000)), Intake::Open(usize::MAX));
        assert_eq!(gate.look(Link::Up, 100, at(5001)), Intake::Open(100));
        assert_eq!(gate.look(Link::Up, 0, at(5002)), Intake::Held);
    }

    #[test]
    fn nobody_waits_for_a_backend_that_has_not_taken_up_the_rings() {
        let mut gate = Gate::default();
        assert_eq!(gate.look(Link::Down, 0, at(0)), Intake::Open(usize::MAX));
        assert_eq!(gate.deadline(), None);
        gate.look(Link::Up, 0, at(1));
        assert_eq!(gate.look(Link::Down, 0, at(2)), Intake::Open(usize::MAX));
    }
}
