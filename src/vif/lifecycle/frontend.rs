//! The frontend's half of a vif: our uplink, from the backend's state.

use super::{BusState, Online, RETRY_AFTER, Rings};
use crate::base::time::Moment;
use core::time::Duration;

/// How long a backend that stays closed though its device is online is waited for before it is asked to start
/// again. Linux's netfront asks as often.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What XenStore shows of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontendObservation {
    /// Our `state` node; `None` when it is not there, or the device has another backend now.
    pub own: Option<BusState>,
    /// The backend's `online` node.
    pub online: Online,
    /// The backend's `state` node.
    pub backend: BusState,
}

/// What happens to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontendEvent {
    /// XenStore was looked at.
    Observed(FrontendObservation),
    /// Time has passed.
    Tick,
    /// The backend broke the protocol on its rings.
    Broke,
    /// The action was carried out.
    Done,
    /// There is no memory, no grant or no event channel for rings.
    Refused,
    /// XenStore did not do its part of the action.
    Failed,
    /// The directory is not the one that it was: nothing was written.
    Vanished,
}

/// What a driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontendAction {
    /// Make rings, grant them and allocate an event channel.
    MakeRings,
    /// Write our state, and in Connected where our rings are, unless the directory has vanished.
    Write(BusState),
    /// Close the event channel, end the grants.
    Disconnect,
    /// Remove the watch and forget the device.
    Unwatch,
}

/// Whether the uplink's backend has taken up our rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It has.
    Up,
    /// Not yet.
    Down,
}

/// Where a device is to go next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontendStep {
    /// Nowhere.
    Stay,
    /// Make rings, announce them, then Connected.
    Connect,
    /// The backend is ready: traffic may flow.
    LinkUp,
    /// Let go of the rings, then Closed.
    Close,
    /// Ask for a new start: Initialising.
    Restart,
    /// The same, but only after [`ASK_AGAIN_AFTER`]: the backend has not reacted, or has had enough of us.
    AskAgain,
}

/// The table: from our state, whether our link is up, the backend's state and the toolstack's wish.
///
/// Applied again after each step until it says [`FrontendStep::Stay`] or something that is not due yet.
pub fn step(own: BusState, link: Link, backend: BusState, online: Online) -> FrontendStep {
    use BusState::*;
    match (own, link, backend) {
        (Initialising, _, InitWait) => FrontendStep::Connect,
        (Initialising, _, Closing) => FrontendStep::Close,
        // The backend has not seen that we wait, or that we started anew.
        (Initialising, _, Closed | Connected) if online == Online::Yes => FrontendStep::AskAgain,
        (Connected, Link::Down, Connected) => FrontendStep::LinkUp,
        (Connected, _, Closing | Closed | Unknown) => FrontendStep::Close,
        // The backend was restarted without closing: its mappings of our rings are gone.
        (Connected, Link::Up, InitWait) => FrontendStep::Close,
        (Connected, _, Initialising) => FrontendStep::Close,
        (Closed, _, InitWait | Initialising) => FrontendStep::Restart,
        // Both are closed and the device is to exist: somebody has to begin. Or the backend has not seen that we
        // closed.
        (Closed, _, Closed | Connected) if online == Online::Yes => FrontendStep::AskAgain,
        _ => FrontendStep::Stay,
    }
}

/// A device's life.
#[derive(Clone, Debug)]
pub struct Frontend {
    own: BusState,
    /// What we last wrote into our `state` node, and when.
    written: BusState,
    since: Moment,
    link: Link,
    presence: Presence,
    backend: BusState,
    online: Online,
    rings: Rings,
    health: FrontendHealth,
    /// XenStore failed or rings could not be made: not before then.
    retry_at: Moment,
    doing: Option<FrontendAction>,
    forgotten: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    /// The directory was removed, or made anew.
    Vanished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrontendHealth {
    Good,
    /// The backend broke the protocol: it is not served again at once.
    Broken,
}

impl Frontend {
    /// A device whose `state` node holds `written`: Initialising if the toolstack has just made it.
    pub fn new(written: BusState, now: Moment) -> Self {
        Self {
            // In any other state somebody used it before us: nothing of that is left to let go of, but it has to be
            // closed first.
            own: if written == BusState::Initialising { written } else { BusState::Closed },
            written,
            since: now,
            link: Link::Down,
            presence: Presence::Here,
            backend: BusState::Unknown,
            online: Online::Yes,
            rings: Rings::None,
            health: FrontendHealth::Good,
            retry_at: Moment::default(),
            doing: None,
            forgotten: false,
        }
    }

    /// Our state.
    pub fn own(&self) -> BusState {
        self.own
    }

    /// What our `state` node holds, as far as we know: what we last wrote.
    pub fn written(&self) -> BusState {
        self.written
    }

    /// Whether traffic may flow.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Whether the rings are in use.
    pub fn rings(&self) -> Rings {
        self.rings
    }

    /// Whether the device is gone for good: nothing is held and nothing more will be done.
    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Takes in an event and returns the action to carry out now, if any. That action's outcome is to be the next
    /// event.
    pub fn handle(&mut self, event: FrontendEvent, now: Moment) -> Option<FrontendAction> {
        match event {
            FrontendEvent::Observed(sight) => self.saw(sight),
            FrontendEvent::Tick => {}
            // Without rings there was nothing to break.
            FrontendEvent::Broke if self.rings == Rings::None => {}
            FrontendEvent::Broke => {
                self.health = FrontendHealth::Broken;
                self.own = BusState::Closed;
            }
            FrontendEvent::Done => self.done(now),
            FrontendEvent::Refused => self.retry_at = now + ASK_AGAIN_AFTER,
            // A watch that XenStore does not end cannot be helped.
            FrontendEvent::Failed if self.doing == Some(FrontendAction::Unwatch) => self.done(now),
            FrontendEvent::Failed => self.retry_at = now + RETRY_AFTER,
            FrontendEvent::Vanished => self.presence = Presence::Vanished,
        }
        self.doing = if self.forgotten { None } else { self.next_action(now) };
        self.doing
    }

    fn saw(&mut self, sight: FrontendObservation) {
        self.presence = match sight.own {
            None => Presence::Vanished,
            // Not what we wrote: the toolstack made the directory anew meanwhile.
            Some(BusState::Initialising) if self.written != BusState::Initialising => Presence::Vanished,
            Some(_) => Presence::Here,
        };
        self.backend = sight.backend;
        self.online = sight.online;
    }

    fn done(&mut self, now: Moment) {
        match self.doing {
            Some(FrontendAction::MakeRings) => {
                self.rings = Rings::Held;
                self.health = FrontendHealth::Good;
                self.own = BusState::Connected;
            }
            Some(FrontendAction::Write(state)) => {
                self.written = state;
                self.since = now;
            }
            Some(FrontendAction::Disconnect) => self.rings = Rings::None,
            Some(FrontendAction::Unwatch) => self.forgotten = true,
            None => {}
        }
    }

    fn next_action(&mut self, now: Moment) -> Option<FrontendAction> {
        let (step, due) = self.next_step();
        if self.presence == Presence::Vanished || step == FrontendStep::Close {
            self.own = BusState::Closed;
        }
        if self.own != BusState::Connected {
            self.link = Link::Down;
            // Letting go of the rings needs no XenStore, so it does not wait for it.
            if self.rings == Rings::Held {
                return Some(FrontendAction::Disconnect);
            }
        }
        if self.presence == Presence::Vanished {
            return Some(FrontendAction::Unwatch);
        }
        if now < self.retry_at {
            return None;
        }
        // Every state is written before the next is entered.
        if self.written != self.own {
            return Some(FrontendAction::Write(self.own));
        }
        match step {
            FrontendStep::LinkUp => self.link = Link::Up,
            FrontendStep::Connect => return Some(FrontendAction::MakeRings),
            FrontendStep::Restart | FrontendStep::AskAgain if due <= now => {
                self.own = BusState::Initialising;
                return Some(FrontendAction::Write(self.own));
            }
            _ => {}
        }
        None
    }

    /// Where to go, and from when on.
    fn next_step(&self) -> (FrontendStep, Moment) {
        let step = step(self.own, self.link, self.backend, self.online);
        let wait = match (step, self.health) {
            (FrontendStep::AskAgain, _) | (FrontendStep::Restart, FrontendHealth::Broken) => ASK_AGAIN_AFTER,
            _ => Duration::ZERO,
        };
        (step, self.since + wait)
    }

    /// When [`FrontendEvent::Tick`] has an effect, if nothing else happens before.
    pub fn deadline(&self) -> Option<Moment> {
        if self.forgotten {
            return None;
        }
        if self.written != self.own {
            return Some(self.retry_at);
        }
        match self.next_step() {
            (FrontendStep::Stay, _) => None,
            (_, due) => Some(due.max(self.retry_at)),
        }
    }
}

#[cfg(test)]
#[path = "frontend_tests.rs"]
mod tests;
