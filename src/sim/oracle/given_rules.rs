//! Which rules dom0 has given to each client of a qube, and which of them may be in effect.
//!
//! A list counts from the moment that dom0 says it is complete: nothing of a client passes before that. Earlier lists count
//! until the firewall has said that it handled a later one, and what was on its way by then has left.

use super::rules::SlowRules;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The rules of each client's address, the latest last.
#[derive(Debug, Default)]
pub struct GivenRules {
    lists: BTreeMap<Ipv4Addr, Vec<SlowRules>>,
}

impl GivenRules {
    /// A client's rules are these from now on.
    pub fn give(&mut self, address: Ipv4Addr, rules: SlowRules) {
        self.lists.entry(address).or_default().push(rules);
    }

    /// Of a client's rules only the latest are in effect.
    pub fn settle(&mut self, address: Ipv4Addr) {
        if let Some(lists) = self.lists.get_mut(&address) {
            lists.drain(..lists.len().saturating_sub(1));
        }
    }

    /// Whether a client may be allowed to begin this.
    pub fn may_accept(&self, address: Ipv4Addr, to: Ipv4Addr, protocol: u8, port: Option<u16>) -> bool {
        self.of(address).iter().any(|rules| rules.accept(to, protocol, port))
    }

    /// Whether a client must be allowed to begin this.
    pub fn must_accept(&self, address: Ipv4Addr, to: Ipv4Addr, protocol: u8, port: Option<u16>) -> bool {
        let lists = self.of(address);
        !lists.is_empty() && lists.iter().all(|rules| rules.accept(to, protocol, port))
    }

    /// Whether any client may be allowed to send anything of this protocol there.
    pub fn anybody_may(&self, to: Ipv4Addr, protocol: u8) -> bool {
        self.lists.values().flatten().any(|rules| rules.accept(to, protocol, None))
    }

    fn of(&self, address: Ipv4Addr) -> &[SlowRules] {
        self.lists.get(&address).map_or(&[], |lists| lists)
    }
}
