//! What the names in rules stand for: the resolver, with the engine that sends for it and judges by what it finds.

use crate::base::host_name::HostName;
use crate::base::rule_owners::RuleOwners;
use crate::base::time::Moment;
use crate::engine::own_datagram::OwnDatagram;
use crate::engine::{Engine, Output};
use crate::local::resolver::{NameSource, Resolver};
use crate::wire::packet::Packet;
use arrayvec::ArrayVec;
use core::net::Ipv4Addr;

/// Names that people are told of in one turn.
const MAX_TOLD: usize = 8;

/// Names whose addresses come into effect in one turn.
const MAX_UPDATES: usize = 8;

/// Keeps what names stand for up to date.
pub struct NameService {
    resolver: Resolver,
    /// Names of which people are to be told what they stand for.
    resolved: ArrayVec<HostName, MAX_TOLD>,
    /// Names that rules refuse and of which nobody said anything in time, with whom they block.
    blocking: ArrayVec<(HostName, RuleOwners), MAX_TOLD>,
}

impl NameService {
    /// Without names and servers. The `key` must be random.
    pub fn new(key: (u64, u64)) -> Self {
        Self { resolver: Resolver::new(key), resolved: ArrayVec::new(), blocking: ArrayVec::new() }
    }

    /// Asks these servers from now on; none, while nothing can be sent.
    #[inline(never)]
    pub fn set_servers(&mut self, servers: &[Ipv4Addr], now: Moment) {
        self.resolver.set_servers(servers, now);
    }

    /// Asks for the names in the rules of `engine` from now on.
    #[inline(never)]
    pub fn set_names<D: Packet>(&mut self, engine: &Engine<D>, now: Moment) {
        let wanted = engine.engine().rules().names().wanted();
        self.resolver.set_names(wanted.map(|name| (name.host.clone(), NameSource(name.source))), now);
    }

    /// Takes the payload of a datagram to a port of ours.
    pub fn receive(&mut self, datagram: OwnDatagram, payload: &[u8], now: Moment) {
        self.resolver.take(now, datagram.from, datagram.port, payload);
    }

    /// Does what is due, and hands the engine what was found out.
    pub fn advance<D: Packet>(&mut self, engine: &mut Engine<D>, output: &mut impl Output<D>, now: Moment) {
        self.resolver.advance(now);
        loop {
            while let Some(port) = self.resolver.next_closed_port() {
                engine.close_own_port(port);
            }
            let Some(query) = self.resolver.next_query(now, || engine.open_own_port()) else { break };
            engine.send_own(query.port, query.to, &query.message, output);
        }
        for _ in 0..MAX_UPDATES {
            let Some((host, addresses)) = self.resolver.next_update() else { break };
            engine.set_addresses(&host, addresses, now);
        }
        while !self.resolved.is_full()
            && let Some(host) = self.resolver.next_untold(now)
        {
            self.resolved.push(host);
        }
        let rules = engine.engine().rules();
        while !self.blocking.is_full()
            && let Some(host) = self.resolver.next_overdue(now, |host| rules.blocked_by(host).is_some())
        {
            let blocked = rules.blocked_by(&host);
            self.blocking.extend(blocked.map(|blocked| (host, blocked)));
        }
    }

    /// The next name that has to be known and is not, and whom it blocks.
    pub fn next_blocking(&mut self) -> Option<(HostName, RuleOwners)> {
        self.blocking.pop_at(0)
    }

    /// The next name of which people are to be told what it stands for; the rule table says it.
    pub fn next_resolved(&mut self) -> Option<HostName> {
        self.resolved.pop_at(0)
    }

    /// When there is something to do.
    pub fn deadline(&self) -> Option<Moment> {
        self.resolver.deadline()
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
