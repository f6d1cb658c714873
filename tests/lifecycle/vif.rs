//! A client's vif and its surroundings: its directories in XenStore, what it holds, and what must never be.

use crate::{Dice, START};
use ravelin::base::time::Moment;
use ravelin::vif::lifecycle::backend::{
    Backend, BackendAction, BackendEvent, BackendObservation, OFFER_AT_LEAST, REMOVE_AFTER,
};
use ravelin::vif::lifecycle::{BusState, Online, Rings};

/// What of the vif is in XenStore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory {
    pub state: BusState,
    pub online: Online,
}

/// A vif, from its directory's beginning to its end.
#[derive(Clone, Debug)]
pub struct Vif {
    pub life: Backend,
    pub now: Moment,
    pub directory: Option<Directory>,
    pub frontend: BusState,
    /// Grants that are mapped (two), event channels that are bound, watches that are set.
    pub mapped: u8,
    pub bound: u8,
    pub watches: u8,
    /// The machine has been told that the directory is another one or gone.
    told_of_end: bool,
    /// When InitWait and Closed were last written.
    offered: Option<Moment>,
    closed: Option<Moment>,
    /// The last that was seen of the toolstack's wish.
    seen: Option<Online>,
    /// Since when the toolstack was seen not to want it.
    unwanted: Option<Moment>,
}

/// What may go wrong with an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing.
    None,
    /// XenStore does not do it.
    Refused,
    /// XenStore does it but the answer does not come.
    AnswerLost,
    /// What the frontend announced is no good.
    BadRings,
}

impl Mishap {
    pub fn of_chance(dice: &mut Dice, per_mille: u64) -> Self {
        if dice.chance(per_mille) {
            dice.pick(&[Self::Refused, Self::AnswerLost, Self::BadRings])
        } else {
            Self::None
        }
    }
}

impl Vif {
    /// The toolstack has just made it, and it was found.
    pub fn new(now: Moment) -> Self {
        Self {
            life: Backend::new(now),
            now,
            directory: Some(Directory { state: BusState::Initialising, online: Online::Yes }),
            frontend: BusState::Initialising,
            mapped: 0,
            bound: 0,
            watches: 1,
            told_of_end: false,
            offered: None,
            closed: None,
            seen: None,
            unwanted: None,
        }
    }

    /// The machine is shown XenStore.
    pub fn look(&mut self, mishap: &mut dyn FnMut() -> Mishap) {
        let sight = BackendObservation {
            own: self.directory.map(|directory| directory.state),
            online: self.directory.map_or(Online::No, |directory| directory.online),
            frontend: self.frontend,
        };
        let anew = sight.own == Some(BusState::Initialising) && self.life.written() != BusState::Initialising;
        self.told_of_end |= sight.own.is_none() || anew;
        self.seen = Some(sight.online);
        self.unwanted = match sight.online {
            Online::Yes => None,
            Online::No => self.unwanted.or(Some(self.now)),
        };
        self.event(BackendEvent::Observed(sight), mishap);
    }

    /// Hands in an event and does what comes of it, and checks what must hold between events.
    pub fn event(&mut self, event: BackendEvent, mishap: &mut dyn FnMut() -> Mishap) {
        let mut action = self.life.handle(event, self.now);
        let mut deeds = 0;
        while let Some(next) = action {
            let outcome = self.carry_out(next, mishap());
            action = self.life.handle(outcome, self.now);
            deeds += 1;
            assert!(deeds < 20, "it does not come to rest: {self:?}");
        }
        self.check();
    }

    fn carry_out(&mut self, action: BackendAction, mishap: Mishap) -> BackendEvent {
        assert!(
            !self.told_of_end || matches!(action, BackendAction::Disconnect | BackendAction::Unwatch),
            "{action:?} after the directory vanished: {self:?}"
        );
        match action {
            BackendAction::Write(state) => {
                if state != BusState::Connected {
                    assert_eq!(
                        (self.mapped, self.bound),
                        (0, 0),
                        "{state:?} is said before rings are let go"
                    );
                }
                if let (Some(offered), Some(Online::Yes), true) =
                    (self.offered, self.seen, self.life.written() == BusState::InitWait)
                {
                    assert!(self.now >= offered + OFFER_AT_LEAST, "libxl may not have seen the offer");
                }
                self.change(mishap, |vif, mut directory| {
                    directory.state = state;
                    vif.offered = (state == BusState::InitWait).then_some(vif.now);
                    vif.closed = (state == BusState::Closed).then_some(vif.now);
                    Some(directory)
                })
            }
            BackendAction::TakeUpRings => {
                assert_eq!((self.mapped, self.bound), (0, 0), "rings are taken up twice");
                assert_eq!(self.life.written(), BusState::InitWait, "nothing was offered");
                match mishap {
                    Mishap::None => {
                        (self.mapped, self.bound) = (2, 1);
                        BackendEvent::Done
                    }
                    Mishap::BadRings => BackendEvent::Refused,
                    Mishap::Refused | Mishap::AnswerLost => BackendEvent::Failed,
                }
            }
            BackendAction::Disconnect => {
                assert_eq!((self.mapped, self.bound), (2, 1), "there is nothing to let go of");
                (self.mapped, self.bound) = (0, 0);
                BackendEvent::Done
            }
            BackendAction::Remove => {
                assert_eq!((self.mapped, self.bound), (0, 0), "the directory goes before the rings");
                assert_eq!(self.seen, Some(Online::No), "the toolstack still wants the device");
                // libxl looks from when it writes `online`, and for a state that is there from then on.
                let begun = self.closed.expect("it was never closed").max(self.unwanted.expect("seen"));
                assert!(self.now >= begun + REMOVE_AFTER, "libxl may not have read Closed");
                self.change(mishap, |_, _| None)
            }
            BackendAction::Unwatch => {
                assert_eq!((self.mapped, self.bound), (0, 0), "rings outlive their vif");
                self.watches = 0;
                if mishap == Mishap::None { BackendEvent::Done } else { BackendEvent::Failed }
            }
        }
    }

    /// A transaction as the driver makes it: only in the directory that the machine knows.
    fn change(
        &mut self,
        mishap: Mishap,
        act: impl FnOnce(&mut Self, Directory) -> Option<Directory>,
    ) -> BackendEvent {
        match self.directory {
            _ if mishap == Mishap::Refused => BackendEvent::Failed,
            Some(found)
                if found.state != BusState::Initialising || self.life.written() == BusState::Initialising =>
            {
                self.directory = act(self, found);
                if mishap == Mishap::AnswerLost { BackendEvent::Failed } else { BackendEvent::Done }
            }
            _ => {
                self.told_of_end = true;
                BackendEvent::Vanished
            }
        }
    }

    fn check(&self) {
        let held = self.mapped > 0;
        assert_eq!(held, self.life.rings() == Rings::Held, "{self:?}");
        assert_eq!(held, self.bound > 0, "{self:?}");
        assert_eq!(held, self.life.own() == BusState::Connected, "{self:?}");
        if self.life.is_forgotten() {
            assert_eq!((self.mapped, self.bound, self.watches), (0, 0, 0), "something outlives its vif");
            assert_eq!(self.life.deadline(), None);
        } else {
            assert_eq!(self.watches, 1);
            assert!(!self.told_of_end, "it lives on without its directory: {self:?}");
        }
        if let Some(due) = self.life.deadline() {
            assert!(due > self.now, "due at {due:?}, and nothing was done at {:?}: {self:?}", self.now);
        }
    }

    /// Lets time pass up to the next deadline; whether there was one.
    pub fn wait(&mut self, mishap: &mut dyn FnMut() -> Mishap) -> bool {
        let Some(due) = self.life.deadline() else { return false };
        self.now = self.now.max(due);
        // The driver looks at XenStore whenever something is due.
        self.look(mishap);
        true
    }

    /// The frontend is honest from now on and the toolstack detaches: the vif must go, in libxl's time, and leave
    /// nothing.
    pub fn detach(&mut self) {
        let never = &mut || Mishap::None;
        // A frontend that is there closes, as every driver does when its backend says so; one that is not stays away.
        if let Some(directory) = &mut self.directory {
            directory.online = Online::No;
            if directory.state != BusState::Closed {
                directory.state = BusState::Closing;
            }
        }
        self.look(never);
        let begun = self.now;
        let mut closed = self.directory.filter(|d| d.state == BusState::Closed).map(|_| self.now);
        while !self.life.is_forgotten() {
            assert!(self.wait(never), "it does not go: {self:?}");
            if self.directory.is_some_and(|directory| directory.state == BusState::Closed) {
                closed.get_or_insert(self.now);
            }
        }
        if self.directory.is_some() || closed.is_some() {
            let closed = closed.expect("libxl never saw it closed");
            assert!(closed.since(begun).as_secs() < 10, "closed too late for libxl");
            assert!(self.now.since(closed).as_secs() < 10, "removed too late for libxl");
        }
    }

    /// The frontend starts anew and is honest: it must be served.
    pub fn reconnect(&mut self) {
        let never = &mut || Mishap::None;
        for state in [BusState::Closed, BusState::Initialising] {
            self.frontend = state;
            self.look(never);
            for _ in 0..5 {
                self.wait(never);
            }
        }
        assert_eq!(
            self.directory.map(|d| d.state),
            Some(BusState::InitWait),
            "it is offered nothing: {self:?}"
        );
        self.frontend = BusState::Connected;
        self.look(never);
        self.wait(never);
        assert_eq!(self.life.own(), BusState::Connected, "it is not served: {self:?}");
        assert_eq!(self.directory.map(|d| d.state), Some(BusState::Connected));
    }
}

impl Default for Vif {
    fn default() -> Self {
        Self::new(START)
    }
}
