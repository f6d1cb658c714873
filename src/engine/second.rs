//! The second that it is, and what is reckoned once in it.

use crate::base::tick::{Seconds, Tick};
use crate::base::time::Moment;
use crate::flow::tcp::TcpStage;
use crate::flow::timeouts::Timeouts;

/// A second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    /// When it is over. At first all are.
    pub(super) ends: Moment,
    /// Its number.
    pub(super) tick: Tick,
    /// The deadline of a flow that is used in it: of an open TCP connection,
    pub(super) tcp: Tick,
    /// and of UDP that goes both ways.
    pub(super) udp: Tick,
}

impl Second {
    /// The one that `now` falls in.
    #[cold]
    pub(super) fn at(now: Moment, timeouts: &Timeouts) -> Second {
        let tick = Tick::at(now);
        Second {
            ends: tick.after(Seconds(1)).begins(),
            tick,
            tcp: tick.after(timeouts.of_tcp(TcpStage::Established)),
            udp: tick.after(timeouts.udp_assured),
        }
    }
}
