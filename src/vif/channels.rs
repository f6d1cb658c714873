//! The event channels of a vif: one for each ring if the frontend asks for it, else one for both.

use crate::vif::ring::Notify;
use crate::xen::Xen;
use crate::xen::event::Port;

/// The ports through which the ends of a vif notify each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// `event-channel`
    Shared(Port),
    /// `event-channel-tx` and `event-channel-rx`
    Split {
        /// For what the frontend transmits.
        tx: Port,
        /// For what it receives.
        rx: Port,
    },
}

impl Channels {
    /// The ports, each once.
    pub fn ports(self) -> impl Iterator<Item = Port> {
        let (first, second) = match self {
            Self::Shared(port) => (port, None),
            Self::Split { tx, rx } => (tx, Some(rx)),
        };
        core::iter::once(first).chain(second)
    }

    /// Tells the other end of what was published on the rings, if it asked; at most once per port.
    pub fn notify(self, xen: &mut impl Xen, tx: Notify, rx: Notify) {
        match self {
            Self::Shared(port) if tx == Notify::Needed || rx == Notify::Needed => xen.notify(port),
            Self::Shared(_) => {}
            Self::Split { tx: tx_port, rx: rx_port } => {
                for (port, notice) in [(tx_port, tx), (rx_port, rx)] {
                    if notice == Notify::Needed {
                        xen.notify(port);
                    }
                }
            }
        }
    }

    /// Closes them.
    pub fn close(self, xen: &mut impl Xen) {
        self.ports().for_each(|port| xen.close_port(port));
    }
}
