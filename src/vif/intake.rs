//! Whether packets are taken from clients: while the uplink's ring is full they wait where they are.
//!
//! A packet that waits in its sender's ring costs nothing and slows its sender down; one that is taken and then
//! finds the ring full was copied for nothing. But an uplink that does not move must not stop clients from
//! reaching each other and the firewall: then packets are taken again, and what is for the uplink is dropped.

use crate::time::Moment;
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
    /// Looks at the uplink's room in slots; `None` without an uplink.
    pub fn look(&mut self, room: Option<usize>, now: Moment) -> Intake {
        *self = match (*self, room) {
            (Self::Open, Some(..LEAST_ROOM)) => Self::Full(now),
            (Self::Full(since), Some(..LEAST_ROOM)) if now >= since + PATIENCE => Self::Stalled,
            (shut, Some(..LEAST_ROOM)) => shut,
            (_, _) => Self::Open,
        };
        match (*self, room) {
            (Self::Full(_), _) => Intake::Held,
            (Self::Open, Some(room)) => Intake::Open(room),
            (Self::Open, None) | (Self::Stalled, _) => Intake::Open(usize::MAX),
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
        assert_eq!(gate.look(Some(200), at(0)), Intake::Open(200));
        assert_eq!(gate.look(Some(18), at(1)), Intake::Held);
        assert_eq!(gate.deadline(), Some(at(101)));
        assert_eq!(gate.look(Some(0), at(100)), Intake::Held);
        assert_eq!(gate.look(Some(19), at(100)), Intake::Open(19));
        assert_eq!(gate.deadline(), None);
    }

    #[test]
    fn clients_do_not_wait_for_an_uplink_that_stands_still() {
        let mut gate = Gate::default();
        gate.look(Some(0), at(0));
        assert_eq!(gate.look(Some(0), at(100)), Intake::Open(usize::MAX));
        assert_eq!(gate.deadline(), None);
        assert_eq!(gate.look(Some(0), at(5000)), Intake::Open(usize::MAX));
        assert_eq!(gate.look(Some(100), at(5001)), Intake::Open(100));
        assert_eq!(gate.look(Some(0), at(5002)), Intake::Held);
    }

    #[test]
    fn without_an_uplink_nobody_waits() {
        let mut gate = Gate::Full(at(0));
        assert_eq!(gate.look(None, at(1)), Intake::Open(usize::MAX));
    }
}
