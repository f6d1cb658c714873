//! The orders in which real backends and toolstacks act, one by one. All orders: `tests/lifecycle/`.

use super::super::BusState::*;
use super::*;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A device with a clock and somebody who carries out what it wants.
struct Device {
    life: Frontend,
    now: Moment,
    /// What was done, in words: `4` for a state that was written, `make`, `end`, `forget`.
    deeds: Vec<String>,
    /// The next outcome is this one instead of success.
    mishap: Option<FrontendEvent>,
}

impl Device {
    fn new() -> Self {
        Self::found_in(Initialising)
    }

    fn found_in(state: BusState) -> Self {
        let now = Moment::from_nanoseconds(1_000_000_000);
        Self { life: Frontend::new(state, now), now, deeds: Vec::new(), mishap: None }
    }

    /// A device whose link is up.
    fn up() -> Self {
        let mut device = Self::new();
        device.sees(InitWait);
        device.sees(Connected);
        assert_eq!((device.deeds().as_str(), device.life.link()), ("make 4", Link::Up));
        device
    }

    fn event(&mut self, event: FrontendEvent) {
        let mut action = self.life.handle(event, self.now);
        while let Some(next) = action {
            let outcome = self.mishap.take().unwrap_or(FrontendEvent::Done);
            let mark = if outcome == FrontendEvent::Done { "" } else { "!" };
            self.deeds.push(match next {
                FrontendAction::Write(state) => format!("{}{mark}", state.text()),
                FrontendAction::MakeRings => format!("make{mark}"),
                FrontendAction::Disconnect => format!("end{mark}"),
                FrontendAction::Unwatch => format!("forget{mark}"),
            });
            action = self.life.handle(outcome, self.now);
        }
    }

    fn sees(&mut self, backend: BusState) {
        self.sees_with(Online::Yes, backend);
    }

    fn sees_with(&mut self, online: Online, backend: BusState) {
        self.event(FrontendEvent::Observed(FrontendObservation {
            own: Some(self.life.written()),
            online,
            backend,
        }));
    }

    fn passes(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
        self.event(FrontendEvent::Tick);
    }

    /// What was done since the last call.
    fn deeds(&mut self) -> String {
        core::mem::take(&mut self.deeds).join(" ")
    }
}

#[test]
fn link_is_up_when_the_backend_has_connected() {
    let mut device = Device::new();
    device.sees(Initialising);
    assert_eq!(device.deeds(), "");
    device.sees(InitWait);
    assert_eq!((device.deeds().as_str(), device.life.link()), ("make 4", Link::Down));
    device.sees(Connected);
    assert_eq!((device.deeds().as_str(), device.life.link()), ("", Link::Up));
}

#[test]
fn backend_that_never_answers_is_waited_for() {
    let mut device = Device::new();
    device.sees(InitWait);
    device.passes(3_600_000);
    assert_eq!((device.deeds().as_str(), device.life.link()), ("make 4", Link::Down));
    assert_eq!(device.life.deadline(), None);
}

#[test]
fn detach_closes_and_stays_closed() {
    let mut device = Device::up();
    device.sees_with(Online::No, Closing);
    device.sees_with(Online::No, Closed);
    device.passes(60_000);
    assert_eq!((device.deeds().as_str(), device.life.link()), ("end 6", Link::Down));
    device.event(FrontendEvent::Observed(FrontendObservation {
        own: None,
        online: Online::No,
        backend: Unknown,
    }));
    assert_eq!(device.deeds(), "forget");
}

#[test]
fn backend_driver_that_is_reloaded_is_used_again() {
    let mut device = Device::up();
    device.sees(Closing);
    device.sees(Closed);
    device.sees(InitWait);
    device.sees(Connected);
    assert_eq!((device.deeds().as_str(), device.life.link()), ("end 6 1 make 4", Link::Up));
}

#[test]
fn backend_that_closed_while_the_device_is_online_is_asked_to_start_again() {
    let mut device = Device::up();
    device.sees(Closed);
    assert_eq!(device.deeds(), "end 6");
    device.passes(4999);
    assert_eq!(device.deeds(), "");
    device.passes(1);
    assert_eq!(device.deeds(), "1");
    // And again, for one that did not look.
    device.passes(5000);
    assert_eq!(device.deeds(), "1");
}

#[test]
fn backend_that_restarts_without_closing_gets_new_rings() {
    for backend in [InitWait, Initialising] {
        let mut device = Device::up();
        device.sees(backend);
        device.sees(InitWait);
        assert_eq!(device.deeds(), "end 6 1 make 4");
    }
}

#[test]
fn backend_domain_that_is_destroyed_takes_nothing_with_it() {
    let mut device = Device::up();
    device.sees_with(Online::No, Unknown);
    assert_eq!((device.deeds().as_str(), device.life.link()), ("end 6", Link::Down));
    // The toolstack makes a new device with another backend in its place.
    device.event(FrontendEvent::Observed(FrontendObservation {
        own: None,
        online: Online::No,
        backend: Unknown,
    }));
    assert_eq!(device.deeds(), "forget");
    assert!(device.life.is_forgotten());
}

#[test]
fn directory_that_was_made_anew_is_another_device() {
    let mut device = Device::up();
    let sight = FrontendObservation { own: Some(Initialising), online: Online::Yes, backend: Initialising };
    device.event(FrontendEvent::Observed(sight));
    assert_eq!(device.deeds(), "end forget");
}

#[test]
fn directory_that_vanishes_under_a_write_is_left_alone() {
    let mut device = Device::new();
    device.sees(Initialising);
    let mut action = device.life.handle(
        FrontendEvent::Observed(FrontendObservation {
            own: Some(Initialising),
            online: Online::Yes,
            backend: InitWait,
        }),
        device.now,
    );
    assert_eq!(action, Some(FrontendAction::MakeRings));
    action = device.life.handle(FrontendEvent::Done, device.now);
    assert_eq!(action, Some(FrontendAction::Write(Connected)));
    action = device.life.handle(FrontendEvent::Vanished, device.now);
    assert_eq!(action, Some(FrontendAction::Disconnect));
    action = device.life.handle(FrontendEvent::Done, device.now);
    assert_eq!(action, Some(FrontendAction::Unwatch));
}

#[test]
fn write_that_fails_is_tried_again() {
    let mut device = Device::up();
    let closing = FrontendEvent::Observed(FrontendObservation {
        own: Some(Connected),
        online: Online::Yes,
        backend: Closing,
    });
    assert_eq!(device.life.handle(closing, device.now), Some(FrontendAction::Disconnect));
    assert_eq!(device.life.handle(FrontendEvent::Done, device.now), Some(FrontendAction::Write(Closed)));
    assert_eq!(device.life.handle(FrontendEvent::Failed, device.now), None);
    assert_eq!(device.life.deadline(), Some(device.now + RETRY_AFTER));
    device.passes(1000);
    assert_eq!(device.deeds(), "6");
}

#[test]
fn rings_that_cannot_be_made_are_tried_again() {
    let mut device = Device::new();
    device.mishap = Some(FrontendEvent::Refused);
    device.sees(InitWait);
    assert_eq!(device.deeds(), "make!");
    device.passes(4999);
    assert_eq!(device.deeds(), "");
    device.passes(1);
    assert_eq!(device.deeds(), "make 4");
}

#[test]
fn backend_that_broke_the_protocol_is_not_tried_again_at_once() {
    let mut device = Device::up();
    device.event(FrontendEvent::Broke);
    device.sees(InitWait);
    assert_eq!((device.deeds().as_str(), device.life.link()), ("end 6", Link::Down));
    device.passes(5000);
    assert_eq!(device.deeds(), "1 make 4");
}

#[test]
fn device_that_somebody_used_before_us_is_closed_first() {
    let mut device = Device::found_in(Connected);
    device.sees(Connected);
    assert_eq!(device.deeds(), "6");
    device.sees(InitWait);
    assert_eq!(device.deeds(), "1 make 4");
}

#[test]
fn the_table_comes_to_rest_everywhere() {
    for own in BusState::ALL {
        for backend in BusState::ALL {
            for online in [Online::Yes, Online::No] {
                let (mut own, mut link, mut steps) = (own, Link::Down, 0);
                loop {
                    match step(own, link, backend, online) {
                        FrontendStep::Connect => own = Connected,
                        FrontendStep::LinkUp => link = Link::Up,
                        FrontendStep::Close => (own, link) = (Closed, Link::Down),
                        FrontendStep::Restart => own = Initialising,
                        // Not due until time has passed.
                        FrontendStep::Stay | FrontendStep::AskAgain => break,
                    }
                    steps += 1;
                    assert!(steps < 5, "backend {backend:?}: no rest");
                }
            }
        }
    }
}
