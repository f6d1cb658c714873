//! Pools of outer ports: which are free, and one of them at random, in constant time at any load.
//!
//! The free ports of a pool lie in one array; taking one swaps a random place with the last. There is no
//! probing, so a pool that is nearly empty is as quick as a full one (conformance P-9, M-5).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::base::bug::bug;
use crate::tables::prf::Prf;
use crate::wire::ipv4::protocol;

/// Which pool a port is from: a protocol, and the class of the port it stands for (RFC 4787 REQ-3a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// TCP ports below 1024.
    TcpLow,
    /// TCP ports from 1024.
    TcpHigh,
    /// UDP ports below 1024.
    UdpLow,
    /// UDP ports from 1024.
    UdpHigh,
    /// ICMP query identifiers.
    Icmp,
}

impl PoolKind {
    /// Every pool.
    pub const ALL: [PoolKind; 5] =
        [PoolKind::TcpLow, PoolKind::TcpHigh, PoolKind::UdpLow, PoolKind::UdpHigh, PoolKind::Icmp];

    /// The pool that an inner `port` of `protocol` is mapped from; `None` for protocols without ports.
    pub const fn of(protocol: u8, port: u16) -> Option<PoolKind> {
        match (protocol, port < 1024) {
            (protocol::TCP, true) => Some(PoolKind::TcpLow),
            (protocol::TCP, false) => Some(PoolKind::TcpHigh),
            (protocol::UDP, true) => Some(PoolKind::UdpLow),
            (protocol::UDP, false) => Some(PoolKind::UdpHigh),
            (protocol::ICMP, _) => Some(PoolKind::Icmp),
            _ => None,
        }
    }

    /// The ports of the pool. Low ports start at 600 so that none of the well-known services' is used.
    pub const fn range(self) -> RangeInclusive<u16> {
        match self {
            PoolKind::TcpLow | PoolKind::UdpLow => 600..=1023,
            PoolKind::TcpHigh | PoolKind::UdpHigh => 1024..=65535,
            PoolKind::Icmp => 0..=65535,
        }
    }

    /// The IP protocol of the pool.
    pub const fn protocol(self) -> u8 {
        match self {
            PoolKind::TcpLow | PoolKind::TcpHigh => protocol::TCP,
            PoolKind::UdpLow | PoolKind::UdpHigh => protocol::UDP,
            PoolKind::Icmp => protocol::ICMP,
        }
    }

    /// Where the pool is in a table of all of them.
    pub const fn position(self) -> usize {
        self as usize
    }
}

/// A set of port numbers.
pub struct PortSet(Box<[u64; 1024]>);

impl PortSet {
    /// The set without members.
    pub fn empty() -> PortSet {
        PortSet(Box::new([0; 1024]))
    }

    /// Adds `port`.
    pub fn insert(&mut self, port: u16) {
        self.0[usize::from(port >> 6)] |= 1 << (port & 63);
    }

    /// Whether `port` is a member.
    pub fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] & (1 << (port & 63)) != 0
    }
}

/// The free ports of one pool.
pub struct Pool {
    free: Vec<u16>,
    range: RangeInclusive<u16>,
}

impl Pool {
    /// A pool of `range`, all free; memory for all of it is taken now.
    pub fn new(range: RangeInclusive<u16>) -> Pool {
        Pool { free: range.clone().collect(), range }
    }

    /// Ports that may be taken.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Ports in its range.
    pub fn size(&self) -> u32 {
        u32::from(self.range.end() - self.range.start()) + 1
    }

    /// Takes a free port, any with the same likelihood.
    pub fn take(&mut self, prf: &mut Prf) -> Option<u16> {
        let at = prf.below(self.free.len() as u32) as usize;
        (at < self.free.len()).then(|| self.free.swap_remove(at))
    }

    /// Gives a port back that was taken.
    pub fn give(&mut self, port: u16) {
        if self.range.contains(&port) && self.free.len() < self.free.capacity() {
            self.free.push(port);
        } else {
            bug("a port comes back to a pool that it is not from");
        }
    }

    /// Makes exactly those ports of the range free that are not `held_back`.
    pub fn refill(&mut self, held_back: &PortSet) {
        self.free.clear();
        self.free.extend(self.range.clone().filter(|port| !held_back.contains(*port)));
    }
}

/// Ports that must not be taken from the pools, by protocol.
pub struct Reserved {
    tcp: PortSet,
    udp: PortSet,
    icmp: PortSet,
}

impl Reserved {
    /// `own` for the firewall's own traffic, and the `forwarded` ones (protocol, port).
    pub fn new(own: RangeInclusive<u16>, forwarded: impl Iterator<Item = (u8, u16)>) -> Reserved {
        let mut reserved = Reserved { tcp: PortSet::empty(), udp: PortSet::empty(), icmp: PortSet::empty() };
        for port in own {
            reserved.tcp.insert(port);
            reserved.udp.insert(port);
        }
        for (protocol, port) in forwarded {
            match protocol {
                protocol::TCP => reserved.tcp.insert(port),
                protocol::UDP => reserved.udp.insert(port),
                _ => {}
            }
        }
        reserved
    }

    /// Those of `protocol`.
    pub const fn of(&self, protocol: u8) -> &PortSet {
        match protocol {
            protocol::TCP => &self.tcp,
            protocol::UDP => &self.udp,
            _ => &self.icmp,
        }
    }

    /// Those of `protocol`, to add some.
    pub const fn of_mut(&mut self, protocol: u8) -> &mut PortSet {
        match protocol {
            protocol::TCP => &mut self.tcp,
            protocol::UDP => &mut self.udp,
            _ => &mut self.icmp,
        }
    }
}

/// A table with one value per pool.
pub fn per_pool<V>(value: impl FnMut(PoolKind) -> V) -> Box<[V]> {
    let mut value = value;
    let mut table = vec![];
    for kind in PoolKind::ALL {
        table.push(value(kind));
    }
    table.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_port_of_a_pool_is_handed_out_exactly_once() {
        let mut prf = Prf::new((1, 2));
        let mut pool = Pool::new(PoolKind::UdpHigh.range());
        let taken: BTreeSet<u16> = core::iter::from_fn(|| pool.take(&mut prf)).collect();
        assert!(taken.into_iter().eq(1024..=65535));
        assert_eq!(pool.take(&mut prf), None);
        pool.give(4711);
        assert_eq!(pool.take(&mut prf), Some(4711));
    }

    #[test]
    fn a_refill_leaves_out_what_is_held_back() {
        let mut prf = Prf::new((1, 2));
        let mut pool = Pool::new(PoolKind::TcpLow.range());
        let mut held_back = PortSet::empty();
        (601..=1023).for_each(|port| held_back.insert(port));
        pool.refill(&held_back);
        assert_eq!((pool.take(&mut prf), pool.take(&mut prf)), (Some(600), None));
    }
}
