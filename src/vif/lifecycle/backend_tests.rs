//! The orders in which real frontends and toolstacks act, one by one. All orders: `tests/lifecycle/`.

use super::super::BusState::*;
use super::*;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A device with a clock and somebody who carries out what it wants.
struct Device {
    life: Backend,
    now: Moment,
    /// What was done, in words: `2` for a state that was written, `map`, `unmap`, `rm`, `forget`.
    deeds: Vec<String>,
    /// The next outcome is this one instead of success.
    mishap: Option<BackendEvent>,
}

impl Device {
    fn new() -> Self {
        let now = Moment::from_nanoseconds(1_000_000_000);
        Self { life: Backend::new(now), now, deeds: Vec::new(), mishap: None }
    }

    /// A device whose frontend has connected.
    fn connected() -> Self {
        let mut device = Self::new();
        device.sees(Online::Yes, Initialising);
        device.sees(Online::Yes, Connected);
        device.passes(500);
        assert_eq!(device.deeds(), "2 map 4");
        device
    }

    fn event(&mut self, event: BackendEvent) {
        let mut action = self.life.handle(event, self.now);
        while let Some(next) = action {
            let outcome = self.mishap.take().unwrap_or(BackendEvent::Done);
            let mark = if outcome == BackendEvent::Done { "" } else { "!" };
            self.deeds.push(match next {
                BackendAction::Write(state) => format!("{}{mark}", state.text()),
                BackendAction::TakeUpRings => format!("map{mark}"),
                BackendAction::Disconnect => format!("unmap{mark}"),
                BackendAction::Remove => format!("rm{mark}"),
                BackendAction::Unwatch => format!("forget{mark}"),
            });
            action = self.life.handle(outcome, self.now);
        }
    }

    fn sees(&mut self, online: Online, frontend: BusState) {
        self.event(BackendEvent::Observed(BackendObservation {
            own: Some(self.life.written()),
            online,
            frontend,
        }));
    }

    fn passes(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
        self.event(BackendEvent::Tick);
    }

    /// What was done since the last call.
    fn deeds(&mut self) -> String {
        core::mem::take(&mut self.deeds).join(" ")
    }
}

#[test]
fn linux_connects_after_the_time_that_libxl_needs_to_see_the_offer() {
    let mut device = Device::new();
    device.sees(Online::Yes, Initialising);
    assert_eq!(device.deeds(), "2");
    device.sees(Online::Yes, Connected);
    assert_eq!(device.life.deadline(), Some(device.now + OFFER_AT_LEAST));
    device.passes(499);
    assert_eq!(device.deeds(), "");
    device.passes(1);
    assert_eq!(device.deeds(), "map 4");
    assert_eq!(device.life.deadline(), None);
}

#[test]
fn frontend_that_closes_at_once_leaves_libxl_the_same_time() {
    let mut device = Device::new();
    device.sees(Online::Yes, Closed);
    assert_eq!(device.deeds(), "2");
    device.passes(500);
    assert_eq!(device.deeds(), "6");
}

#[test]
fn driver_reload_closes_and_comes_back() {
    let mut device = Device::connected();
    device.sees(Online::Yes, Closing);
    device.sees(Online::Yes, Closed);
    assert_eq!(device.deeds(), "unmap 5 6");
    device.passes(3_600_000);
    assert_eq!(device.deeds(), "");
    device.sees(Online::Yes, Initialising);
    device.sees(Online::Yes, Connected);
    device.passes(500);
    assert_eq!(device.deeds(), "2 map 4");
}

#[test]
fn straight_to_closed_and_missing_directory_close_too() {
    for frontend in [Closed, Unknown] {
        let mut device = Device::connected();
        device.sees(Online::Yes, frontend);
        assert_eq!(device.deeds(), "unmap 6");
    }
}

#[test]
fn frontend_that_starts_anew_without_closing_walks_through_closed() {
    let mut device = Device::connected();
    device.sees(Online::Yes, Initialising);
    assert_eq!(device.deeds(), "unmap 6 2");
}

#[test]
fn windows_closes_what_its_predecessor_left_connected() {
    let mut device = Device::connected();
    for frontend in [Closing, Closed, Initialising, Connected] {
        device.sees(Online::Yes, frontend);
    }
    device.passes(500);
    assert_eq!(device.deeds(), "unmap 5 6 2 map 4");
}

#[test]
fn the_same_state_twice_and_unknown_ones_change_nothing() {
    let mut device = Device::connected();
    for frontend in [Connected, Connected, Initialised, InitWait, Reconfiguring, Reconfigured] {
        device.sees(Online::Yes, frontend);
    }
    assert_eq!(device.deeds(), "");
}

#[test]
fn detach_waits_for_the_frontend_then_lets_libxl_see_closed_then_removes() {
    let mut device = Device::connected();
    device.sees(Online::No, Connected);
    assert_eq!(device.deeds(), "");
    device.sees(Online::No, Closing);
    device.sees(Online::No, Closed);
    assert_eq!(device.deeds(), "unmap 5 6");
    device.passes(999);
    assert_eq!(device.deeds(), "");
    device.passes(1);
    assert_eq!(device.deeds(), "rm forget");
    assert!(device.life.is_forgotten());
}

#[test]
fn detach_from_a_frontend_that_does_not_answer_ends_well_within_libxls_ten_seconds() {
    let mut device = Device::connected();
    device.sees(Online::No, Connected);
    device.passes(5000);
    assert_eq!(device.deeds(), "unmap 6");
    device.passes(1000);
    assert_eq!(device.deeds(), "rm forget");
}

#[test]
fn detach_of_what_was_closed_already_leaves_libxl_time_to_see_that() {
    let mut device = Device::connected();
    device.sees(Online::Yes, Closed);
    device.passes(60_000);
    device.deeds();
    device.sees(Online::No, Closed);
    assert_eq!(device.deeds(), "");
    device.passes(1000);
    assert_eq!(device.deeds(), "rm forget");
}

#[test]
fn directory_that_vanished_is_not_written_again() {
    let mut device = Device::connected();
    device.event(BackendEvent::Observed(BackendObservation {
        own: None,
        online: Online::No,
        frontend: Connected,
    }));
    assert_eq!(device.deeds(), "unmap forget");
}

#[test]
fn directory_that_was_made_anew_belongs_to_another_device() {
    let mut device = Device::connected();
    let sight = BackendObservation { own: Some(Initialising), online: Online::Yes, frontend: Initialising };
    device.event(BackendEvent::Observed(sight));
    assert_eq!(device.deeds(), "unmap forget");
}

#[test]
fn directory_that_vanishes_under_a_write_is_left_alone() {
    let mut device = Device::connected();
    device.mishap = Some(BackendEvent::Done);
    device.sees(Online::Yes, Closed);
    assert_eq!(device.deeds(), "unmap 6");
    device.mishap = Some(BackendEvent::Vanished);
    device.sees(Online::Yes, Initialising);
    assert_eq!(device.deeds(), "2! forget");
}

#[test]
fn write_that_fails_is_tried_again() {
    let mut device = Device::new();
    device.mishap = Some(BackendEvent::Failed);
    device.sees(Online::Yes, Initialising);
    assert_eq!(device.deeds(), "2!");
    assert_eq!(device.life.deadline(), Some(device.now + RETRY_AFTER));
    // Nothing is connected before the offer is written.
    device.sees(Online::Yes, Connected);
    assert_eq!(device.deeds(), "");
    device.passes(1000);
    assert_eq!(device.deeds(), "2");
    device.passes(500);
    assert_eq!(device.deeds(), "map 4");
}

#[test]
fn rings_are_let_go_even_while_xenstore_fails() {
    let mut device = Device::new();
    device.sees(Online::Yes, Connected);
    device.now = device.now + OFFER_AT_LEAST;
    let mut action = device.life.handle(BackendEvent::Tick, device.now);
    assert_eq!(action, Some(BackendAction::TakeUpRings));
    action = device.life.handle(BackendEvent::Done, device.now);
    assert_eq!(action, Some(BackendAction::Write(Connected)));
    assert_eq!(device.life.handle(BackendEvent::Failed, device.now), None);
    device.deeds();
    device.sees(Online::Yes, Closed);
    assert_eq!(device.deeds(), "unmap");
    device.passes(1000);
    assert_eq!(device.deeds(), "6");
}

#[test]
fn broken_frontend_is_served_again_when_it_starts_anew_and_not_before() {
    let mut device = Device::connected();
    device.event(BackendEvent::Broke);
    assert_eq!(device.deeds(), "unmap 6");
    for frontend in [Connected, Closing, Closed] {
        device.sees(Online::Yes, frontend);
        device.passes(10_000);
    }
    assert_eq!(device.deeds(), "");
    device.sees(Online::Yes, Initialising);
    assert_eq!(device.deeds(), "2");
}

#[test]
fn broken_frontend_that_starts_anew_at_once_waits_a_second() {
    let mut device = Device::connected();
    device.event(BackendEvent::Broke);
    device.sees(Online::Yes, Initialising);
    assert_eq!(device.deeds(), "unmap 6");
    device.passes(1000);
    assert_eq!(device.deeds(), "2");
}

#[test]
fn broken_frontend_is_detached_like_any_other() {
    let mut device = Device::connected();
    device.event(BackendEvent::Broke);
    device.sees(Online::No, Connected);
    device.passes(1000);
    assert_eq!(device.deeds(), "unmap 6 rm forget");
}

#[test]
fn rings_that_cannot_be_taken_up_close_the_device() {
    let mut device = Device::new();
    device.sees(Online::Yes, Connected);
    device.mishap = Some(BackendEvent::Refused);
    device.passes(500);
    assert_eq!(device.deeds(), "2 map! 6");
    device.sees(Online::Yes, Connected);
    assert_eq!(device.deeds(), "");
}

#[test]
fn detach_of_a_client_that_never_connected_does_not_wait() {
    let mut device = Device::new();
    device.sees(Online::Yes, Initialising);
    device.sees(Online::No, Initialising);
    device.passes(1000);
    assert_eq!(device.deeds(), "2 6 rm forget");
}

#[test]
fn hours_that_pass_in_a_pause_do_not_hurry_a_detach_along() {
    let mut device = Device::connected();
    device.passes(7 * 3_600_000);
    assert_eq!(device.deeds(), "");
    device.sees(Online::No, Closed);
    assert_eq!(device.deeds(), "unmap 6");
    device.passes(1000);
    assert_eq!(device.deeds(), "rm forget");
}

#[test]
fn the_table_comes_to_rest_everywhere() {
    for own in BusState::ALL {
        for frontend in BusState::ALL {
            for wanted in [Wanted::Online, Wanted::Offline] {
                let (mut own, mut steps) = (own, 0);
                loop {
                    own = match step(own, wanted, frontend) {
                        BackendStep::Offer => InitWait,
                        BackendStep::Connect => Connected,
                        BackendStep::StartClosing => Closing,
                        BackendStep::Close => Closed,
                        BackendStep::Stay | BackendStep::Remove => break,
                        BackendStep::Forget => unreachable!("nothing vanished"),
                    };
                    steps += 1;
                    assert!(steps < 5, "{wanted:?}, frontend {frontend:?}: no rest");
                }
            }
            assert_eq!(step(own, Wanted::Vanished, frontend), BackendStep::Forget);
        }
    }
}
