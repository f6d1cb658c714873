//! The backend's half of a vif: a client's device, from the toolstack's wish and the frontend's state.

use super::{BusState, Online, RETRY_AFTER, Rings};
use crate::base::time::Moment;
use core::time::Duration;

/// How long InitWait lasts at least. libxl takes an attach for failed when it never reads exactly this
/// state, and a running frontend would make us leave it at once.
pub const OFFER_AT_LEAST: Duration = Duration::from_millis(500);

/// How long Closed lasts before the directory goes. libxl takes a detach for failed when the directory is
/// gone before it has read Closed; it waits ten seconds for either.
pub const REMOVE_AFTER: Duration = Duration::from_secs(1);

/// How long a connected frontend may take to close once the device is offline, before we close alone:
/// well within libxl's ten seconds.
pub const CLOSE_ALONE_AFTER: Duration = Duration::from_secs(5);

/// How long a frontend that broke the protocol is left alone before it is offered anything again.
pub const REST_AFTER_BREAK: Duration = Duration::from_secs(1);

/// What XenStore shows of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendObservation {
    /// Our `state` node; `None` when it is not there.
    pub own: Option<BusState>,
    /// Our `online` node.
    pub online: Online,
    /// The frontend's `state` node.
    pub frontend: BusState,
}

/// What happens to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendEvent {
    /// XenStore was looked at.
    Observed(BackendObservation),
    /// Time has passed.
    Tick,
    /// The frontend broke the protocol on its rings.
    Broke,
    /// The action was carried out.
    Done,
    /// The rings cannot be taken up: what the frontend announced is no good.
    Refused,
    /// XenStore did not do its part of the action.
    Failed,
    /// The directory is not the one that it was: nothing was written.
    Vanished,
}

/// What a driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendAction {
    /// Write our state, and in InitWait what we offer, unless the directory has vanished.
    Write(BusState),
    /// Map the rings that the frontend announced and bind its event channel.
    TakeUpRings,
    /// Close the event channel, unmap the rings.
    Disconnect,
    /// Remove our directory.
    Remove,
    /// Remove the watch and forget the device.
    Unwatch,
}

/// What the toolstack wants of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The device is to exist, whether or not its frontend runs.
    Online,
    /// The device is to go.
    Offline,
    /// The directory was removed, or made anew.
    Vanished,
}

/// Where a device is to go next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendStep {
    /// Nowhere.
    Stay,
    /// Announce features, then InitWait.
    Offer,
    /// Take up the rings, then Connected.
    Connect,
    /// Let go of the rings, then Closing.
    StartClosing,
    /// Let go of the rings, then Closed.
    Close,
    /// Remove the directory and forget the device.
    Remove,
    /// Let go of the rings and forget the device; write nothing.
    Forget,
}

/// The table: from our state, the toolstack's wish and the frontend's state.
///
/// Applied again after each step until it says [`BackendStep::Stay`].
pub fn step(own: BusState, wanted: Wanted, frontend: BusState) -> BackendStep {
    use BusState::*;
    match (wanted, own, frontend) {
        (Wanted::Vanished, ..) => BackendStep::Forget,

        // Asked to go, and the frontend has stopped, started anew (its rings are history) or never connected.
        (Wanted::Offline, Closed, _) => BackendStep::Remove,
        (Wanted::Offline, Connected, Closing) => BackendStep::StartClosing,
        (Wanted::Offline, Connected | Closing, Closed | Unknown | Initialising) => BackendStep::Close,
        (Wanted::Offline, Connected | Closing, _) => BackendStep::Stay,
        (Wanted::Offline, ..) => BackendStep::Close,

        // A new device: announce it whatever the frontend does.
        (Wanted::Online, Unknown | Initialising, _) => BackendStep::Offer,
        // The frontend starts (again): from Closed, or without having closed (kexec, crash).
        (Wanted::Online, Closed, Initialising | Connected) => BackendStep::Offer,
        (Wanted::Online, Connected | Closing, Initialising) => BackendStep::Close,
        (Wanted::Online, Closing, Connected) => BackendStep::Close,
        (Wanted::Online, InitWait, Connected) => BackendStep::Connect,
        // The frontend stops: we keep the directory, so that it can come back.
        (Wanted::Online, InitWait | Connected, Closing) => BackendStep::StartClosing,
        (Wanted::Online, InitWait | Connected | Closing, Closed) => BackendStep::Close,
        (Wanted::Online, Connected | Closing, Unknown) => BackendStep::Close,
        (Wanted::Online, ..) => BackendStep::Stay,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BackendHealth {
    Good,
    /// The frontend broke the protocol: it is served again only when it starts anew.
    Broken,
}

/// A device's life.
#[derive(Clone, Debug)]
pub struct Backend {
    own: BusState,
    /// What we last wrote into our `state` node, and when.
    written: BusState,
    since: Moment,
    wanted: Wanted,
    /// When the device was first seen offline.
    offline_since: Option<Moment>,
    frontend: BusState,
    health: BackendHealth,
    rings: Rings,
    /// XenStore failed: it is asked again then.
    retry_at: Moment,
    doing: Option<BackendAction>,
    forgotten: bool,
}

impl Backend {
    /// A device that the toolstack has just made.
    pub fn new(now: Moment) -> Self {
        Self {
            own: BusState::Initialising,
            written: BusState::Initialising,
            since: now,
            wanted: Wanted::Online,
            offline_since: None,
            frontend: BusState::Unknown,
            health: BackendHealth::Good,
            rings: Rings::None,
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
    pub fn handle(&mut self, event: BackendEvent, now: Moment) -> Option<BackendAction> {
        match event {
            BackendEvent::Observed(sight) => self.saw(sight, now),
            BackendEvent::Tick => {}
            // Without rings there was nothing to break.
            BackendEvent::Broke if self.rings == Rings::None => {}
            BackendEvent::Broke => {
                self.health = BackendHealth::Broken;
                self.own = BusState::Closed;
            }
            BackendEvent::Done => self.done(now),
            BackendEvent::Refused => {
                self.health = BackendHealth::Broken;
                self.own = BusState::Closed;
            }
            // A watch that XenStore does not end cannot be helped.
            BackendEvent::Failed if self.doing == Some(BackendAction::Unwatch) => self.done(now),
            BackendEvent::Failed => self.retry_at = now + RETRY_AFTER,
            BackendEvent::Vanished => self.wanted = Wanted::Vanished,
        }
        self.doing = if self.forgotten { None } else { self.next_action(now) };
        self.doing
    }

    fn saw(&mut self, sight: BackendObservation, now: Moment) {
        self.wanted = match (sight.own, sight.online) {
            (None, _) => Wanted::Vanished,
            // Only the toolstack writes this state: the directory was removed and made anew meanwhile.
            (Some(BusState::Initialising), _) if self.written != BusState::Initialising => Wanted::Vanished,
            (Some(_), Online::Yes) => Wanted::Online,
            (Some(_), Online::No) => Wanted::Offline,
        };
        if self.wanted == Wanted::Online {
            self.offline_since = None;
        } else {
            self.offline_since.get_or_insert(now);
        }
        self.frontend = sight.frontend;
    }

    fn done(&mut self, now: Moment) {
        match self.doing {
            Some(BackendAction::Write(state)) => {
                self.written = state;
                self.since = now;
            }
            Some(BackendAction::TakeUpRings) => {
                self.rings = Rings::Held;
                self.own = BusState::Connected;
            }
            Some(BackendAction::Disconnect) => self.rings = Rings::None,
            Some(BackendAction::Remove) => self.wanted = Wanted::Vanished,
            Some(BackendAction::Unwatch) => self.forgotten = true,
            None => {}
        }
    }

    fn next_action(&mut self, now: Moment) -> Option<BackendAction> {
        let (step, due) = self.next_step();
        let due = due <= now;
        // Letting go of the rings needs no XenStore, so it does not wait for it.
        if self.rings == Rings::Held {
            match step {
                BackendStep::StartClosing if due => self.own = BusState::Closing,
                BackendStep::Close if due => self.own = BusState::Closed,
                BackendStep::Forget => self.own = BusState::Closed,
                _ if self.own != BusState::Connected => {}
                _ => return self.tell(now),
            }
            return Some(BackendAction::Disconnect);
        }
        if step == BackendStep::Forget {
            return Some(BackendAction::Unwatch);
        }
        if self.written == self.own && due && now >= self.retry_at {
            match step {
                BackendStep::Stay | BackendStep::Forget => {}
                BackendStep::Offer => {
                    self.health = BackendHealth::Good;
                    self.own = BusState::InitWait;
                }
                BackendStep::Connect => return Some(BackendAction::TakeUpRings),
                BackendStep::StartClosing => self.own = BusState::Closing,
                BackendStep::Close => self.own = BusState::Closed,
                BackendStep::Remove => return Some(BackendAction::Remove),
            }
        }
        self.tell(now)
    }

    /// Every state is written before the next is entered.
    fn tell(&self, now: Moment) -> Option<BackendAction> {
        (self.written != self.own && now >= self.retry_at).then_some(BackendAction::Write(self.own))
    }

    /// Where to go, and from when on.
    fn next_step(&self) -> (BackendStep, Moment) {
        let step = step(self.own, self.wanted, self.frontend);
        match (step, self.offline_since) {
            (BackendStep::Stay, Some(offline)) if self.own != BusState::Closed => {
                (BackendStep::Close, offline + CLOSE_ALONE_AFTER)
            }
            // Counted from when it is both closed and offline: a toolstack that detaches a device which is closed
            // already must still be able to read Closed.
            (BackendStep::Remove, offline) => {
                (step, offline.unwrap_or_default().max(self.since) + REMOVE_AFTER)
            }
            (BackendStep::Offer, _) if self.health == BackendHealth::Broken => match self.frontend {
                // What broke the protocol must start anew before it is offered anything.
                BusState::Initialising => (step, self.since + REST_AFTER_BREAK),
                _ => (BackendStep::Stay, self.since),
            },
            (BackendStep::Connect | BackendStep::StartClosing | BackendStep::Close, None)
                if self.own == BusState::InitWait =>
            {
                (step, self.since + OFFER_AT_LEAST)
            }
            _ => (step, self.since),
        }
    }

    /// When [`BackendEvent::Tick`] has an effect, if nothing else happens before.
    pub fn deadline(&self) -> Option<Moment> {
        if self.forgotten {
            return None;
        }
        if self.written != self.own {
            return Some(self.retry_at);
        }
        match self.next_step() {
            (BackendStep::Stay, _) => None,
            (_, due) => Some(due.max(self.retry_at)),
        }
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
