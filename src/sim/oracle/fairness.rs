//! The oracle of fairness: an uplink that is slower than its clients is divided among them by bytes.
//!
//! Time is cut into windows. Of those clients that had something waiting in their rings all through one, none may have
//! got more than twice another's bytes out, but for a few packets of the largest kind.

use crate::base::time::Moment;
use crate::xen::DomainId;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

const WINDOW: Duration = Duration::from_millis(500);

/// Bytes that may be between two clients at the ends of a window.
const SLACK: u64 = 2 * 65_536;

/// Whether a client had something waiting in its ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// Whenever anybody looked.
    Always,
    /// Not always.
    Sometimes,
}

#[derive(Clone, Copy, Debug, Default)]
struct Competitor {
    demand: Demand,
    /// Bytes of the present window, and of all.
    bytes: u64,
    total: u64,
}

/// What clients that always have something to send got out.
#[derive(Debug, Default)]
pub struct FairnessOracle {
    competitors: BTreeMap<DomainId, Competitor>,
    since: Moment,
}

impl FairnessOracle {
    /// `client` is one that sends as much as it can, all of which the rules let through to the uplink.
    pub fn watch(&mut self, client: DomainId) {
        self.competitors.insert(client, Competitor::default());
    }

    /// Whether something of `client` waits in its ring, after the kernel had its chance.
    pub fn wants(&mut self, client: DomainId, waiting: bool) {
        if let Some(competitor) = self.competitors.get_mut(&client) {
            competitor.demand = match competitor.demand {
                Demand::Unknown | Demand::Always if waiting => Demand::Always,
                _ => Demand::Sometimes,
            };
        }
    }

    /// The uplink took a frame of `client`.
    pub fn sent(&mut self, client: DomainId, bytes: usize) {
        if let Some(competitor) = self.competitors.get_mut(&client) {
            competitor.bytes += bytes as u64;
            competitor.total += bytes as u64;
        }
    }

    /// Bytes of `client` that the uplink took so far.
    pub fn total(&self, client: DomainId) -> u64 {
        self.competitors.get(&client).map_or(0, |competitor| competitor.total)
    }

    /// Looks whether a window is over; what was wrong in it.
    pub fn close_window(&mut self, now: Moment) -> Option<String> {
        if now < self.since + WINDOW {
            return None;
        }
        // Time may have jumped.
        let is_whole = now < self.since + WINDOW * 2;
        self.since = now;
        let wanted = self.competitors.iter().filter(|(_, competitor)| competitor.demand == Demand::Always);
        let wanted = wanted.map(|(client, competitor)| (competitor.bytes, client.0));
        let extremes = wanted.clone().min().zip(wanted.max());
        for competitor in self.competitors.values_mut() {
            *competitor = Competitor { total: competitor.total, ..Competitor::default() };
        }
        let ((least, loser), (most, winner)) = extremes.filter(|_| is_whole)?;
        (most > 2 * least + SLACK).then(|| {
            format!("domain {winner} got {most} bytes out and domain {loser} {least}, both with more to send")
        })
    }
}
