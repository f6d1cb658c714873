//! The xenbus handshake, as pure decisions: what a vif does next, from its own state and what it sees.
//!
//! Nothing here calls Xen. Our own state is in our memory, never read back from XenStore. Facts:
//! `xen/include/public/io/xenbus.h`; the tables follow what Linux's netback does and what libxl waits for.

use core::time::Duration;

/// A device's state, as both ends write it into XenStore (`XenbusState*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BusState {
    /// The node is missing or is no state.
    Unknown = 0,
    /// The toolstack made the directory.
    Initialising = 1,
    /// The backend has announced what it can do.
    InitWait = 2,
    /// The frontend has announced its rings (not used by network devices).
    Initialised = 3,
    /// Rings are in use.
    Connected = 4,
    /// One end wants to stop.
    Closing = 5,
    /// Stopped.
    Closed = 6,
    /// Reconfiguration (not used).
    Reconfiguring = 7,
    /// Reconfiguration done (not used).
    Reconfigured = 8,
}

impl BusState {
    /// Reads a `state` node; anything that is no state is [`BusState::Unknown`].
    pub fn parse(text: &str) -> Self {
        match text {
            "1" => Self::Initialising,
            "2" => Self::InitWait,
            "3" => Self::Initialised,
            "4" => Self::Connected,
            "5" => Self::Closing,
            "6" => Self::Closed,
            "7" => Self::Reconfiguring,
            "8" => Self::Reconfigured,
            _ => Self::Unknown,
        }
    }

    /// The text of a `state` node.
    pub fn text(self) -> &'static str {
        match self {
            Self::Unknown => "0",
            Self::Initialising => "1",
            Self::InitWait => "2",
            Self::Initialised => "3",
            Self::Connected => "4",
            Self::Closing => "5",
            Self::Closed => "6",
            Self::Reconfiguring => "7",
            Self::Reconfigured => "8",
        }
    }
}

/// What the toolstack wants of a backend device (its `online` node).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The device is to exist, whether or not its frontend runs.
    Online,
    /// The device is to go.
    Offline,
    /// The toolstack has removed the directory.
    Vanished,
}

/// What a backend device is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// Announce features, then InitWait.
    Offer,
    /// Map the rings, then Connected.
    Connect,
    /// Let go of the rings, then Closing.
    StartClosing,
    /// Let go of the rings, then Closed.
    Close,
    /// Remove our directory, after [`REMOVE_AFTER`] in Closed, and forget the device.
    Remove,
    /// Let go of the rings and forget the device; write nothing.
    Forget,
}

/// How long InitWait lasts at least. libxl takes an attach for failed when it never reads exactly this
/// state, and a running frontend would make us leave it at once.
pub const OFFER_AT_LEAST: Duration = Duration::from_millis(500);

/// How long Closed lasts before the directory goes. libxl takes a detach for failed when the directory is
/// gone before it has read Closed; it waits ten seconds for either.
pub const REMOVE_AFTER: Duration = Duration::from_secs(1);

/// How long a connected frontend may take to close once the device is offline, before we close alone:
/// well within libxl's ten seconds.
pub const CLOSE_ALONE_AFTER: Duration = Duration::from_secs(5);

/// What a backend device does, from its own state, the toolstack's wish and the frontend's state.
///
/// Applied again after each step until it says [`Step::Stay`].
pub fn backend_step(own: BusState, wanted: Wanted, frontend: BusState) -> Step {
    use BusState::*;
    match (wanted, own, frontend) {
        (Wanted::Vanished, ..) => Step::Forget,

        // Gone or asked to go, and the frontend has stopped or never connected.
        (Wanted::Offline, Closed, _) => Step::Remove,
        (Wanted::Offline, Connected, Closing) => Step::StartClosing,
        (Wanted::Offline, Connected | Closing, Closed | Unknown) => Step::Close,
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

/// What our frontend device does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontStep {
    /// Nothing.
    Stay,
    /// Make rings, announce them, then Connected.
    Connect,
    /// The backend is ready: traffic may flow.
    LinkUp,
    /// Let go of the rings, then Closed.
    Close,
    /// Ask for a new start: Initialising.
    Restart,
}

/// What a frontend device does, from its own state, whether its link is up, and the backend's state.
pub fn frontend_step(own: BusState, link: Link, backend: BusState) -> FrontStep {
    use BusState::*;
    match (own, link, backend) {
        (Initialising, _, InitWait) => FrontStep::Connect,
        (Connected, Link::Down, Connected) => FrontStep::LinkUp,
        (Connected, _, Closing | Closed | Unknown) => FrontStep::Close,
        // The backend was restarted without closing: its rings are gone.
        (Connected, Link::Up, InitWait) => FrontStep::Close,
        (Initialising, _, Closing) => FrontStep::Close,
        (Closed, _, InitWait | Initialising) => FrontStep::Restart,
        _ => FrontStep::Stay,
    }
}

/// Whether the uplink's backend has taken up our rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It has.
    Up,
    /// Not yet.
    Down,
}

#[cfg(test)]
mod tests {
    use super::BusState::*;
    use super::*;

    /// Runs steps until the machine stays; the states it walked through.
    fn walk(mut own: BusState, wanted: Wanted, frontend: BusState) -> std::vec::Vec<BusState> {
        let mut states = std::vec::Vec::new();
        loop {
            own = match backend_step(own, wanted, frontend) {
                Step::Offer => InitWait,
                Step::Connect => Connected,
                Step::StartClosing => Closing,
                Step::Close => Closed,
                Step::Stay | Step::Remove | Step::Forget => return states,
            };
            states.push(own);
            assert!(states.len() < 10, "does not come to rest");
        }
    }

    #[test]
    fn linux_client_connects() {
        assert_eq!(walk(Initialising, Wanted::Online, Initialising), [InitWait]);
        assert_eq!(walk(InitWait, Wanted::Online, Connected), [Connected]);
    }

    #[test]
    fn frontend_that_connected_before_the_backend_started_is_served() {
        assert_eq!(walk(Initialising, Wanted::Online, Connected), [InitWait, Connected]);
    }

    #[test]
    fn client_that_unloads_its_driver_can_come_back() {
        assert_eq!(walk(Connected, Wanted::Online, Closing), [Closing]);
        assert_eq!(walk(Closing, Wanted::Online, Closed), [Closed]);
        assert_eq!(walk(Closed, Wanted::Online, Closed), []);
        assert_eq!(walk(Closed, Wanted::Online, Initialising), [InitWait]);
    }

    #[test]
    fn client_that_restarts_without_closing_is_reconnected() {
        assert_eq!(walk(Connected, Wanted::Online, Initialising), [Closed, InitWait]);
    }

    #[test]
    fn windows_closes_what_its_predecessor_left_connected() {
        assert_eq!(walk(Connected, Wanted::Online, Closing), [Closing]);
        assert_eq!(walk(Closing, Wanted::Online, Closed), [Closed]);
        assert_eq!(walk(Closed, Wanted::Online, Initialising), [InitWait]);
        assert_eq!(walk(InitWait, Wanted::Online, Connected), [Connected]);
    }

    #[test]
    fn detach_waits_for_a_connected_frontend_then_removes() {
        assert_eq!(walk(Connected, Wanted::Offline, Connected), []);
        assert_eq!(walk(Connected, Wanted::Offline, Closed), [Closed]);
        assert_eq!(backend_step(Closed, Wanted::Offline, Closed), Step::Remove);
    }

    #[test]
    fn detach_of_a_client_that_never_connected_does_not_wait() {
        for own in [Unknown, Initialising, InitWait] {
            assert_eq!(walk(own, Wanted::Offline, Initialising), [Closed]);
        }
    }

    #[test]
    fn frontend_that_vanishes_closes_but_keeps_the_device() {
        assert_eq!(walk(Connected, Wanted::Online, Unknown), [Closed]);
        assert_eq!(backend_step(Closed, Wanted::Online, Unknown), Step::Stay);
    }

    #[test]
    fn every_combination_comes_to_rest() {
        let states = [
            Unknown,
            Initialising,
            InitWait,
            Initialised,
            Connected,
            Closing,
            Closed,
            Reconfiguring,
            Reconfigured,
        ];
        for own in states {
            for frontend in states {
                for wanted in [Wanted::Online, Wanted::Offline] {
                    walk(own, wanted, frontend);
                }
                assert_eq!(backend_step(own, Wanted::Vanished, frontend), Step::Forget);
            }
        }
    }

    #[test]
    fn frontend_follows_its_backend_up_and_down() {
        assert_eq!(frontend_step(Initialising, Link::Down, InitWait), FrontStep::Connect);
        assert_eq!(frontend_step(Connected, Link::Down, InitWait), FrontStep::Stay);
        assert_eq!(frontend_step(Connected, Link::Down, Connected), FrontStep::LinkUp);
        assert_eq!(frontend_step(Connected, Link::Up, Connected), FrontStep::Stay);
        assert_eq!(frontend_step(Connected, Link::Up, Closing), FrontStep::Close);
        assert_eq!(frontend_step(Connected, Link::Up, Unknown), FrontStep::Close);
        assert_eq!(frontend_step(Closed, Link::Down, InitWait), FrontStep::Restart);
        assert_eq!(frontend_step(Closed, Link::Down, Closed), FrontStep::Stay);
    }

    #[test]
    fn state_nodes_are_read_strictly() {
        for state in [Initialising, InitWait, Initialised, Connected, Closing, Closed, Reconfiguring] {
            assert_eq!(BusState::parse(state.text()), state);
        }
        for text in ["", "04", "4\n", "99", "x"] {
            assert_eq!(BusState::parse(text), Unknown);
        }
    }
}
