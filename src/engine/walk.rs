//! Walks over the flow table, some positions at a time.
//!
//! What changes is obeyed at once wherever a flow is met; walks only take out those that nobody meets any more. So one
//! that a peer has caused may wait: a client that comes and goes as fast as it can causes one in a second, and so does
//! whoever owns names in rules.

use core::time::Duration;

use crate::base::time::Moment;

/// Least time from the beginning of a walk to that of one that a peer has caused.
const INTERVAL: Duration = Duration::from_secs(1);

/// The walk that is on, and the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walks {
    /// The next position of the walk that is on.
    at: Option<usize>,
    /// When another is to begin.
    due: Option<Moment>,
    /// When one that a peer causes may begin.
    paused_until: Moment,
}

impl Walks {
    /// Asks for a walk that begins at once.
    pub(super) fn ask(&mut self) {
        self.due = Some(Moment::default());
    }

    /// Asks at `now` for a walk because of what a peer did.
    pub(super) fn ask_for_peer(&mut self, now: Moment) {
        let due = self.paused_until.max(now);
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// The next position to look at in a table of this extent; `None` when none is due at `now`.
    pub(super) fn next(&mut self, now: Moment, extent: usize) -> Option<usize> {
        let position = match self.at.take().filter(|at| *at < extent) {
            Some(at) => at,
            None => {
                self.due.take_if(|due| *due <= now)?;
                self.paused_until = now + INTERVAL;
                0
            }
        };
        self.at = Some(position + 1).filter(|next| *next < extent);
        (position < extent).then_some(position)
    }

    /// Whether no walk is on.
    pub(super) const fn is_over(&self) -> bool {
        self.at.is_none()
    }

    /// When there is something to do: in the past when there is now.
    pub(super) fn deadline(&self) -> Option<Moment> {
        if self.at.is_some() { Some(Moment::default()) } else { self.due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(walks: &mut Walks, now: Moment) -> usize {
        (0..).map_while(|_| walks.next(now, 10)).count()
    }

    #[test]
    fn s_6_walks_that_clients_ask_for_begin_once_in_a_second() {
        let start = Moment::from_nanoseconds(5_000_000_000);
        let mut walks = Walks::default();
        assert_eq!((walks.deadline(), walk(&mut walks, start)), (None, 0));
        let mut looked_at = 0;
        for turn in 0..10_000 {
            let now = start + Duration::from_millis(turn);
            walks.ask_for_peer(now);
            looked_at += walk(&mut walks, now);
        }
        assert_eq!(looked_at, 10 * 10);
        walks.ask();
        assert_eq!(walk(&mut walks, start + Duration::from_millis(10_000)), 10);
    }

    #[test]
    fn a_walk_that_is_asked_for_during_another_follows_it() {
        let mut walks = Walks::default();
        walks.ask();
        assert_eq!(walks.next(Moment::default(), 10), Some(0));
        walks.ask();
        assert_eq!(walk(&mut walks, Moment::default()), 9 + 10);
        assert_eq!(walks.deadline(), None);
    }
}
