//! What one client may take, as far as it is said.

use crate::engine::settings::Quotas;
use crate::tables::allowance::Rate;

/// Limits of each client. `None` is the default, which depends on the domain's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Flows.
    pub flows: Option<u32>,
    /// Outer ports, per protocol and class.
    pub ports: Option<u32>,
    /// New flows per second.
    pub new_flows: Option<u32>,
}

impl ClientLimits {
    /// These limits, and where they say nothing those of `before`.
    #[must_use]
    pub fn over(self, before: Self) -> Self {
        Self {
            flows: self.flows.or(before.flows),
            ports: self.ports.or(before.ports),
            new_flows: self.new_flows.or(before.new_flows),
        }
    }

    /// `quotas` with these limits. A second's new flows may also come four times at once.
    pub fn of(&self, quotas: Quotas) -> Quotas {
        let new_flows =
            self.new_flows.map(|per_second| Rate { per_second, burst: per_second.saturating_mul(4) });
        Quotas {
            flows_per_client: self.flows.unwrap_or(quotas.flows_per_client),
            ports_per_client: self.ports.unwrap_or(quotas.ports_per_client),
            new_flows: new_flows.unwrap_or(quotas.new_flows),
            ..quotas
        }
    }
}
