//! The backend's half of a vif: a client's device, from the toolstack's wish and the frontend's state.

use super::{BusState, Online, RETRY_AFTER, Rings};
use crate::time::Moment;
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
pub struct Sight {
    /// Our `state` node; `None` when it is not there.
    pub own: Option<BusState>,
    /// Our `online` node.
    pub online: Online,
    /// The frontend's `state` node.
    pub frontend: BusState,
}

/// What happens to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// XenStore was looked at.
    Saw(Sight),
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
pub enum Action {
    /// Write our state, and in InitWait what we offer, unless the directory has vanished.
    Write(BusState),
    /// Map the rings that the frontend announced and bind its event channel.
    TakeUpRings,
    /// Close the event channel, unmap the rings.
    LetGo,
    /// Remove our directory.
    Remove,
    /// Remove the watch and forget the device.
    Forget,
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
pub enum Step {
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
/// Applied again after each step until it says [`Step::Stay`].
pub fn step(own: BusState, wanted: Wanted, frontend: BusState) -> Step {
    use BusState::*;
    match (wanted, own, frontend) {
        (Wanted::Vanished, ..) => Step::Forget,

        // Asked to go, and the frontend has stopped, started anew (its rings are history) or never connected.
        (Wanted::Offline, Closed, _) => Step::Remove,
        (Wanted::Offline, Connected, Closing) => Step::StartClosing,
        (Wanted::Offline, Connected | Closing, Closed | Unknown | Initialising) => Step::Close,
        (Wanted::Offline, Connected | Closing, _) => Step::Stay,
        (Wanted::Offline, ..) => Step::Close,

        // A new device: announce it whatever the frontend does.
        (Wanted::Online, Unknown | Initialising, _) => Step::Offer,
        // The frontend starts (again): from Closed, or without having closed (kexec, crash).
        (Wanted::Online, Closed, Initialising | Connected) => Step::Offer,
        (Wanted::Online, Connected | Closing, Initialising) => Step::Close,
        (Wanted::Online, Closing, Connected) => Step::Close,
        (Wanted::Online, InitWait, Connected) => Step::Connect,
        // The frontend stops: we keep the directory, so that it can come back.
        (Wanted::Online, InitWait | Connected, Closing) => Step::StartClosing,
        (Wanted::Online, InitWait | Connected | Closing, Closed) => Step::Close,
        (Wanted::Online, Connected | Closing, Unknown) => Step::Close,
        (Wanted::Online, ..) => Step::Stay,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
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
    health: Health,
    rings: Rings,
    /// XenStore failed: it is asked again then.
    retry_at: Moment,
    doing: Option<Action>,
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
            health: Health::Good,
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

    /// Takes in an event; what is to be done now. Its outcome is the next event.
    pub fn handle(&mut self, event: Event, now: Moment) -> Option<Action> {
        match event {
            Event::Saw(sight) => self.saw(sight, now),
            Event::Tick => {}
            // Without rings there was nothing to break.
            Event::Broke if self.rings == Rings::None => {}
            Event::Broke => {
                self.health = Health::Broken;
                self.own = BusState::Closed;
            }
            Event::Done => self.done(now),
            Event::Refused => {
                self.health = Health::Broken;
                self.own = BusState::Closed;
            }
            // A watch that XenStore does not end cannot be helped.
            Event::Failed if self.doing == Some(Action::Forget) => self.done(now),
            Event::Failed => self.retry_at = now + RETRY_AFTER,
            Event::Vanished => self.wanted = Wanted::Vanished,
        }
        self.doing = if self.forgotten { None } else { self.next_action(now) };
        self.doing
    }

    fn saw(&mut self, sight: Sight, now: Moment) {
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
            Some(Action::Write(state)) => {
                self.written = state;
                self.since = now;
            }
            Some(Action::TakeUpRings) => {
                self.rings = Rings::Held;
                self.own = BusState::Connected;
            }
            Some(Action::LetGo) => self.rings = Rings::None,
            Some(Action::Remove) => self.wanted = Wanted::Vanished,
            Some(Action::Forget) => self.forgotten = true,
            None => {}
        }
    }

    fn next_action(&mut self, now: Moment) -> Option<Action> {
        let (step, due) = self.next_step();
        let due = due <= now;
        // What needs no XenStore waits for none.
        if self.rings == Rings::Held {
            match step {
                Step::StartClosing if due => self.own = BusState::Closing,
                Step::Close if due => self.own = BusState::Closed,
                Step::Forget => self.own = BusState::Closed,
                _ if self.own != BusState::Connected => {}
                _ => return self.tell(now),
            }
            return Some(Action::LetGo);
        }
        if step == Step::Forget {
            return Some(Action::Forget);
        }
        if self.written == self.own && due && now >= self.retry_at {
            match step {
                Step::Stay | Step::Forget => {}
                Step::Offer => {
                    self.health = Health::Good;
                    self.own = BusState::InitWait;
                }
                Step::Connect => return Some(Action::TakeUpRings),
                Step::StartClosing => self.own = BusState::Closing,
                Step::Close => self.own = BusState::Closed,
                Step::Remove => return Some(Action::Remove),
            }
        }
        self.tell(now)
    }

    /// Every state is written before the next is entered.
    fn tell(&self, now: Moment) -> Option<Action> {
        (self.written != self.own && now >= self.retry_at).then_some(Action::Write(self.own))
    }

    /// Where to go, and from when on.
    fn next_step(&self) -> (Step, Moment) {
        let step = step(self.own, self.wanted, self.frontend);
        match (step, self.offline_since) {
            (Step::Stay, Some(offline)) if self.own != BusState::Closed => {
                (Step::Close, offline + CLOSE_ALONE_AFTER)
            }
            // From when both hold: whoever detaches a device that is closed already must still find it closed.
            (Step::Remove, offline) => (step, offline.unwrap_or_default().max(self.since) + REMOVE_AFTER),
            (Step::Offer, _) if self.health == Health::Broken => match self.frontend {
                // What broke the protocol must start anew before it is offered anything.
                BusState::Initialising => (step, self.since + REST_AFTER_BREAK),
                _ => (Step::Stay, self.since),
            },
            (Step::Connect | Step::StartClosing | Step::Close, None) if self.own == BusState::InitWait => {
                (step, self.since + OFFER_AT_LEAST)
            }
            _ => (step, self.since),
        }
    }

    /// When [`Event::Tick`] has an effect, if nothing else happens before.
    pub fn deadline(&self) -> Option<Moment> {
        if self.forgotten {
            return None;
        }
        if self.written != self.own {
            return Some(self.retry_at);
        }
        match self.next_step() {
            (Step::Stay, _) => None,
            (_, due) => Some(due.max(self.retry_at)),
        }
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
