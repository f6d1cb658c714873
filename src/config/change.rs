//! What the data plane is told by the control plane: a queue of changes, taken up between two passes.

use crate::base::side::ClientSlot;
use crate::config::host_address::RefusedAddress;
use crate::config::mistake::OptionMistake;
use crate::config::qube_rules::LiveRulesReport;
use crate::config::rule_config::RulesReport;
use crate::config::uplink_route::UplinkRoute;
use crate::engine::seed::Seed;
use crate::engine::settings::{Quotas, UplinkPings};
use crate::guard::RuleTable;
use crate::guard::rule_update::RuleUpdate;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::net::Ipv4Addr;
use log::LevelFilter;

/// Something is otherwise from now on.
#[derive(Debug)]
pub enum Change {
    /// Our addresses on the uplink. `None`: nothing goes there.
    Route {
        /// Until now.
        from: Option<UplinkRoute>,
        /// From now on.
        to: Option<UplinkRoute>,
    },
    /// The address that clients know us by.
    ClientGateway(Ipv4Addr),
    /// The rules. Flows that they forbid end, others go on.
    Rules(Box<RuleTable>, Rc<RulesReport>),
    /// Live rules, all at once. Flows that they forbid end, others go on.
    LiveRules(Box<RuleUpdate>, Rc<LiveRulesReport>),
    /// Random bytes for the choice of ports.
    RandomSeed(Seed),
    /// What clients may take. Holds for what they take from now on.
    Quotas(Quotas),
    /// Whether our address on the uplink answers pings.
    UplinkPings(UplinkPings),
    /// How much is said on the console.
    LogLevel(LevelFilter),
    /// An address that was set cannot be: what was configured stays. One of the device's is not in effect.
    Refused(RefusedAddress),
    /// The value of an option cannot be read: it is as if it were not there.
    OptionRefused(OptionMistake),
    /// The uplink's backend has taken up the rings.
    UplinkConnected {
        /// Bytes of the largest IP packet that may go there.
        mtu: u16,
    },
    /// A client's address came or went.
    Ownership(Ownership),
}

/// An address came to a slot or left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The slot's client has the address from now on.
    Gained(ClientSlot, Ipv4Addr),
    /// The slot's client has none any more.
    Lost(ClientSlot),
}

/// Changes in the order in which they happened.
#[derive(Debug, Default)]
pub struct ChangeQueue(VecDeque<Change>);

impl ChangeQueue {
    /// Notes a change. Of several of our addresses only what they come to counts, which may be nothing: flows end with the
    /// address that they were translated to, and that one stays.
    pub fn push(&mut self, change: Change) {
        let Change::Route { from, to } = change else { return self.0.push_back(change) };
        let earlier = self.0.iter().position(|change| matches!(change, Change::Route { .. }));
        let removed = earlier.and_then(|place| self.0.remove(place));
        let from = match removed {
            Some(Change::Route { from, .. }) => from,
            _ => from,
        };
        if from != to {
            self.0.push_back(Change::Route { from, to });
        }
    }

    /// The oldest change, which is then no longer there.
    pub fn pop(&mut self) -> Option<Change> {
        self.0.pop_front()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
