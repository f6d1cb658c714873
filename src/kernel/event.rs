//! What happens, as values: for the console ([`super::event_log`]) and for tests.

use super::requests::UnknownRequest;
use crate::base::host_name::HostName;
use crate::base::rule_owners::RuleOwners;
use crate::base::side::ClientSlot;
use crate::base::text::Excerpt;
use crate::config::Change;
use crate::config::change::Ownership;
use crate::config::host_address::RefusedAddress;
use crate::config::mistake::OptionMistake;
use crate::config::qube_rules::LiveRulesReport;
use crate::config::rule_config::RulesReport;
use crate::config::uplink_route::UplinkRoute;
use crate::engine::settings::{Quotas, UplinkPings};
use crate::qubes::ProtocolFault;
use crate::qubes::settings::SettingMistake;
use crate::store::StoreError;
use crate::vchan::ConnectError;
use crate::vif::event::VifEvent;
use alloc::rc::Rc;
use alloc::string::String;
use core::net::Ipv4Addr;
use core::time::Duration;
use log::LevelFilter;

/// Something changed.
#[derive(Clone, Debug)]
pub enum Event {
    /// A vif's state.
    Vif(VifEvent),
    /// A client has an address from now on: packets for it go there, and it may send from it.
    AddressTaken(ClientSlot, Ipv4Addr),
    /// A client has none any more.
    AddressLost(ClientSlot),
    /// Our addresses on the uplink.
    RouteChanged {
        /// Until now.
        from: Option<UplinkRoute>,
        /// From now on.
        to: Option<UplinkRoute>,
    },
    /// The address that clients know us by.
    ClientGatewayChanged(Ipv4Addr),
    /// The rules.
    RulesReplaced(Rc<RulesReport>),
    /// Rules that came from QubesDB.
    LiveRulesChanged(Rc<LiveRulesReport>),
    /// What clients may take.
    QuotasChanged(Quotas),
    /// Whether our address on the uplink answers pings.
    UplinkPingsChanged(UplinkPings),
    /// How much is said on the console.
    LogLevelChanged(LevelFilter),
    /// An address that was set cannot be used: the one that was configured before stays in effect, or, if it is the
    /// device's, the configured one.
    AddressRefused(RefusedAddress),
    /// The value of an option cannot be read.
    OptionRefused(OptionMistake),
    /// Our connection to XenStore.
    Store(StoreEvent),
    /// No server says anything of a name that rules refuse, and whom that keeps from beginning flows.
    NameUnknown(HostName, RuleOwners),
    /// Something about requests of the toolstack that does not work.
    RequestRefused(UnknownRequest),
    /// Our connection to QubesDB, and what it says.
    Qubes(QubesEvent),
}

/// Something happened to our connection to QubesDB, or what it says is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QubesEvent {
    /// There is one.
    Connected,
    /// The whole database has come, with the rules of so many clients.
    Loaded(usize),
    /// It has ended.
    Gone(LinkEnd),
    /// What is announced cannot be taken up.
    CannotConnect(ConnectError),
    /// Something that it says is not in effect.
    Wrong(QubesMistake),
}

/// Why a connection to QubesDB ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// Its server went.
    Closed,
    /// Its server broke the vchan.
    Broken,
    /// Its server sent what no server sends.
    Protocol(ProtocolFault),
}

/// Something that QubesDB says and that is not in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QubesMistake {
    /// A setting.
    Setting(SettingMistake),
    /// A feature that is none of ours, no text, or that there is no room for.
    Feature(Excerpt),
    /// Rules of more clients than there is room for.
    TooManySources,
}

/// Something happened to our connection to XenStore.
#[derive(Clone, Debug)]
pub enum StoreEvent {
    /// A reply is overdue.
    Slow {
        /// How long nothing has come.
        waited: Duration,
        /// What was asked, and how far both ends are with the ring.
        status: String,
    },
    /// Replies have come promptly for a minute.
    Prompt,
    /// XenStore refused a request, or has failed as a whole.
    Failed(StoreError),
}

impl Event {
    /// The event that tells of a change. `None` for the uplink's connection, of which the vif's own event tells,
    /// and for what nobody need know.
    pub fn of(change: &Change) -> Option<Self> {
        Some(match change {
            Change::Route { from, to } => Self::RouteChanged { from: *from, to: *to },
            Change::ClientGateway(address) => Self::ClientGatewayChanged(*address),
            Change::Rules(_, report) => Self::RulesReplaced(report.clone()),
            Change::LiveRules(_, report) => Self::LiveRulesChanged(report.clone()),
            Change::Quotas(quotas) => Self::QuotasChanged(*quotas),
            Change::UplinkPings(pings) => Self::UplinkPingsChanged(*pings),
            Change::LogLevel(level) => Self::LogLevelChanged(*level),
            Change::OptionRefused(mistake) => Self::OptionRefused(mistake.clone()),
            Change::Refused(refused) => Self::AddressRefused(*refused),
            Change::Ownership(Ownership::Gained(slot, address)) => Self::AddressTaken(*slot, *address),
            Change::Ownership(Ownership::Lost(slot)) => Self::AddressLost(*slot),
            Change::UplinkConnected { .. }
            | Change::RandomSeed(_)
            | Change::Resolvers(_)
            | Change::VisibleAddresses(_)
            | Change::InsideAddresses(_) => return None,
        })
    }
}
