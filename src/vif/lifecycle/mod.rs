//! The xenbus handshake as two pure machines: events in, one action at a time out, no Xen and no XenStore.
//!
//! [`backend`] lives on a client's vif, [`frontend`] on the uplink. Both work the same way: a driver hands in an
//! event, carries out the action that comes back, hands in its outcome as the next event, and goes on until there
//! is no further action. The outcome of an action comes before any other event.
//!
//! A machine keeps all that it needs to know. Our own state is read back from XenStore only to see whether the
//! toolstack removed the directory or made it anew. Facts: `xen/include/public/io/xenbus.h`; the tables follow what
//! Linux's drivers do and what libxl waits for.

pub mod backend;
pub mod frontend;

use core::time::Duration;

/// How long XenStore is left alone after it refused a write, before that is tried again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

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
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Initialising,
        Self::InitWait,
        Self::Initialised,
        Self::Connected,
        Self::Closing,
        Self::Closed,
        Self::Reconfiguring,
        Self::Reconfigured,
    ];

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

/// The `online` node of a backend's directory: what the toolstack wants of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Online {
    /// It is to exist, whether or not its frontend runs.
    Yes,
    /// It is to go.
    No,
}

impl Online {
    /// Reads the node; a missing one says no.
    pub fn parse(text: Option<&str>) -> Self {
        if text == Some("1") { Self::Yes } else { Self::No }
    }
}

/// Whether a machine's rings are in use, and so whether anything is mapped, granted or bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rings {
    /// Nothing is.
    None,
    /// They are: to be let go of before anything is said to the other end.
    Held,
}

#[cfg(test)]
mod tests {
    use super::BusState::*;
    use super::*;

    #[test]
    fn state_nodes_are_read_strictly() {
        for state in BusState::ALL {
            assert_eq!(BusState::parse(state.text()), state);
        }
        for text in ["", "04", "4\n", "99", "x"] {
            assert_eq!(BusState::parse(text), Unknown);
        }
    }
}
