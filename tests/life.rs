//! The kernel's loop in the simulated Xen: every step of every life cycle, interrupted by everything else.
//!
//! Needs `--features sim`.
#![cfg(feature = "sim")]

use ravelin::sim::life::{Course, LifeEvent, crowd, live};
use ravelin::sim::machine::driver_action::DriverAction;
use ravelin::sim::trace::Recording;

/// Changes of XenStore after which a course is interrupted: that many lie between any two of its steps.
const STEPS: [u64; 6] = [0, 1, 2, 3, 5, 8];

/// The first attach begins with the toolstack's own writing.
const STEPS_OF_ATTACH: [u64; 6] = [0, 1, 30, 33, 38, 46];

/// Interrupts `course` by `interruption` after `step` changes.
fn interrupt(course: Course, interruption: LifeEvent, step: u64) {
    let story = live(course, interruption, step, step + 1, Recording::Off);
    let found = &story.violations;
    assert!(found.is_empty(), "{course:?}, after {step} changes {interruption:?}: {found:#?}");
}

/// Interrupts `course` by everything, each after another number of changes.
fn interrupt_by_everything(course: Course, steps: [u64; 6]) {
    for (index, interruption) in LifeEvent::ALL.into_iter().enumerate() {
        interrupt(course, interruption, steps[index % steps.len()]);
    }
}

#[test]
fn first_attach_can_be_interrupted() {
    interrupt_by_everything(Course::Appear, STEPS_OF_ATTACH);
}

#[test]
fn driver_reload_can_be_interrupted() {
    interrupt_by_everything(Course::Then(LifeEvent::Client(DriverAction::Reload)), STEPS);
}

#[test]
fn windows_dance_can_be_interrupted() {
    interrupt_by_everything(Course::Then(LifeEvent::Client(DriverAction::Dance)), STEPS);
}

#[test]
fn detach_can_be_interrupted() {
    interrupt_by_everything(Course::Then(LifeEvent::Detach), STEPS);
}

#[test]
fn destruction_can_be_interrupted() {
    interrupt_by_everything(Course::Then(LifeEvent::Destroy), STEPS);
}

#[test]
fn uplink_restart_can_be_interrupted() {
    interrupt_by_everything(Course::Then(LifeEvent::UplinkRestart), STEPS);
}

/// xenstored counts the toolstack's nodes in the vifs' directories as ours: more than there may be.
#[test]
fn ninety_clients_fit_into_the_quotas_of_xenstored() {
    let story = crowd(90, 1);
    assert!(story.violations.is_empty(), "{:#?}", story.violations);
}

#[test]
#[ignore = "long: make lifecycle"]
fn every_step_of_everything_can_be_interrupted_by_everything() {
    for interruption in LifeEvent::ALL {
        for step in STEPS_OF_ATTACH {
            interrupt(Course::Appear, interruption, step);
        }
        for happening in LifeEvent::ALL {
            for step in STEPS {
                interrupt(Course::Then(happening), interruption, step);
            }
        }
    }
}
