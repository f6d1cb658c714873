//! The uplink: every order of a few events, and random orders of many.

use crate::vif::Mishap;
use crate::{Dice, LONG, SHORT, START, milliseconds};
use ravelin::base::time::Moment;
use ravelin::vif::lifecycle::frontend::{Frontend, FrontendAction, FrontendEvent, FrontendObservation, Link};
use ravelin::vif::lifecycle::{BusState, Online, Rings};

/// A device and its surroundings.
#[derive(Clone, Debug)]
struct Device {
    life: Frontend,
    now: Moment,
    /// Our `state` node.
    own: Option<BusState>,
    backend: BusState,
    online: Online,
    granted: bool,
    /// How often our state was written.
    writes: u64,
    watches: u8,
    /// The machine has been told that the directory is another one or gone.
    told_of_end: bool,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Backend(BusState),
    Offline,
    Online,
    Removed,
    MadeAnew,
    Time,
    Broke,
    Mishap(u8),
}

fn all_happenings() -> Vec<Happening> {
    use Happening::*;
    let backends = BusState::ALL.into_iter().map(Backend);
    let others = [Offline, Online, Removed, MadeAnew, Time, Broke, Mishap(0), Mishap(1), Mishap(2)];
    backends.chain(others).collect()
}

impl Device {
    fn new(now: Moment) -> Self {
        Self {
            life: Frontend::new(BusState::Initialising, now),
            now,
            own: Some(BusState::Initialising),
            backend: BusState::Initialising,
            online: Online::Yes,
            granted: false,
            writes: 0,
            watches: 1,
            told_of_end: false,
        }
    }

    fn look(&mut self, mishap: &mut Mishap) {
        let anew = self.own == Some(BusState::Initialising) && self.life.written() != BusState::Initialising;
        self.told_of_end |= self.own.is_none() || anew;
        self.event(
            FrontendEvent::Observed(FrontendObservation {
                own: self.own,
                online: self.online,
                backend: self.backend,
            }),
            mishap,
        );
    }

    fn event(&mut self, event: FrontendEvent, mishap: &mut Mishap) {
        let mut action = self.life.handle(event, self.now);
        let mut deeds = 0;
        while let Some(next) = action {
            let outcome = self.carry_out(next, std::mem::replace(mishap, Mishap::None));
            action = self.life.handle(outcome, self.now);
            deeds += 1;
            assert!(deeds < 20, "it does not come to rest: {self:?}");
        }
        self.check();
    }

    fn carry_out(&mut self, action: FrontendAction, mishap: Mishap) -> FrontendEvent {
        assert!(
            !self.told_of_end || matches!(action, FrontendAction::Disconnect | FrontendAction::Unwatch),
            "{action:?} after the directory vanished: {self:?}"
        );
        match action {
            FrontendAction::MakeRings => {
                assert!(!self.granted, "rings are made twice");
                match mishap {
                    Mishap::None => {
                        self.granted = true;
                        FrontendEvent::Done
                    }
                    Mishap::BadRings => FrontendEvent::Refused,
                    Mishap::Refused | Mishap::AnswerLost => FrontendEvent::Failed,
                }
            }
            FrontendAction::Write(state) => {
                assert_eq!(self.granted, state == BusState::Connected, "{state:?} is said");
                let known = match self.own {
                    Some(BusState::Initialising) => self.life.written() == BusState::Initialising,
                    found => found.is_some(),
                };
                match mishap {
                    Mishap::Refused => FrontendEvent::Failed,
                    _ if !known => {
                        self.told_of_end = true;
                        FrontendEvent::Vanished
                    }
                    Mishap::AnswerLost => {
                        self.own = Some(state);
                        self.writes += 1;
                        FrontendEvent::Failed
                    }
                    _ => {
                        self.own = Some(state);
                        self.writes += 1;
                        FrontendEvent::Done
                    }
                }
            }
            FrontendAction::Disconnect => {
                assert!(self.granted, "there is nothing to let go of");
                self.granted = false;
                FrontendEvent::Done
            }
            FrontendAction::Unwatch => {
                assert!(!self.granted, "rings outlive their device");
                self.watches = 0;
                if mishap == Mishap::None { FrontendEvent::Done } else { FrontendEvent::Failed }
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.granted, self.life.rings() == Rings::Held, "{self:?}");
        assert_eq!(self.granted, self.life.own() == BusState::Connected, "{self:?}");
        if self.life.link() == Link::Up {
            assert!(self.granted && self.life.written() == BusState::Connected, "{self:?}");
        }
        if self.life.is_forgotten() {
            assert_eq!((self.granted, self.watches), (false, 0), "something outlives its device");
            assert_eq!(self.life.deadline(), None);
        } else {
            assert!(!self.told_of_end, "it lives on without its directory: {self:?}");
        }
        if let Some(due) = self.life.deadline() {
            assert!(due > self.now, "due at {due:?}, and nothing was done at {:?}: {self:?}", self.now);
        }
    }

    fn apply(&mut self, what: Happening, pending: &mut Mishap) {
        match what {
            Happening::Backend(state) => self.backend = state,
            Happening::Offline => self.online = Online::No,
            Happening::Online => self.online = Online::Yes,
            Happening::Removed => self.own = None,
            Happening::MadeAnew => {
                self.own = Some(BusState::Initialising);
                (self.backend, self.online) = (BusState::Initialising, Online::Yes);
            }
            Happening::Time => self.now = self.now + milliseconds(6000),
            Happening::Broke => return self.event(FrontendEvent::Broke, pending),
            Happening::Mishap(kind) => {
                *pending = [Mishap::Refused, Mishap::AnswerLost, Mishap::BadRings][usize::from(kind)];
                return;
            }
        }
        self.look(pending);
    }

    /// Behind a backend that acts as Linux's does when our state is written, the link comes up within seconds.
    fn comes_up(&mut self) {
        // Its driver is loaded anew if it is in a state that Linux's cannot be in.
        if !matches!(self.backend, BusState::InitWait | BusState::Connected | BusState::Closed) {
            self.backend = BusState::InitWait;
        }
        self.online = Online::Yes;
        let begun = self.now;
        // It looks once when it starts.
        let mut answered = u64::MAX;
        self.look(&mut Mishap::None);
        while self.life.link() != Link::Up {
            assert!(self.now.since(begun).as_secs() < 30, "the link does not come up: {self:?}");
            if answered == self.writes {
                self.now =
                    self.life.deadline().map_or(self.now + milliseconds(1000), |due| due.max(self.now));
            } else {
                answered = self.writes;
                self.backend = match self.own {
                    Some(BusState::Initialising) => BusState::InitWait,
                    Some(BusState::Connected) => BusState::Connected,
                    _ => BusState::Closed,
                };
            }
            self.look(&mut Mishap::None);
            // After an answer that was lost it may take its own writing for the toolstack's: it is found again.
            if let (true, Some(own)) = (self.life.is_forgotten(), self.own) {
                self.life = Frontend::new(own, self.now);
                (self.watches, self.told_of_end) = (1, false);
                self.look(&mut Mishap::None);
            }
        }
    }

    fn goes(&mut self) {
        self.own = None;
        self.look(&mut Mishap::None);
        assert!(self.life.is_forgotten(), "it stays: {self:?}");
    }
}

fn every_order(device: &Device, pending: Mishap, depth: u32, all: &[Happening]) {
    for &what in all {
        let (mut device, mut pending) = (device.clone(), pending);
        device.apply(what, &mut pending);
        if device.life.is_forgotten() {
            continue;
        }
        if depth > 1 {
            every_order(&device, pending, depth - 1, all);
        } else {
            device.clone().goes();
            device.comes_up();
        }
    }
}

#[test]
fn every_order_of_four_events_ends_well() {
    let all = all_happenings();
    let fresh = Device::new(START);
    every_order(&fresh, Mishap::None, 4, &all);
    let mut up = fresh;
    up.comes_up();
    every_order(&up, Mishap::None, 4, &all);
}

fn random_orders(events: u64, seed: u64) {
    let mut dice = Dice(seed);
    let all = all_happenings();
    let mut device = Device::new(START);
    for _ in 0..events {
        device.now = device.now + milliseconds(dice.pick(&[0, 0, 1, 10, 100, 700, 6000]));
        let mut pending = Mishap::of_chance(&mut dice, 100);
        match dice.below(20) {
            0 => device.apply(dice.pick(&all), &mut pending),
            1 => device.comes_up(),
            _ => device.apply(Happening::Backend(dice.pick(&BusState::ALL)), &mut pending),
        }
        if device.life.is_forgotten() {
            device = Device::new(device.now);
        }
    }
    device.goes();
}

#[test]
fn random_orders_of_many_events_break_nothing() {
    random_orders(SHORT, 3);
}

#[test]
#[ignore = "long: make lifecycle"]
fn random_orders_of_twelve_million_events_break_nothing() {
    random_orders(LONG, 4);
}
