//! Ports of the uplink address that lead to a client.

use super::rule::PortRange;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

/// Ports of one protocol, sent on to as many neighbouring ports of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortForward {
    /// IPv4 protocol number: TCP or UDP.
    protocol: u8,
    ports: PortRange,
    to: SocketAddrV4,
}

impl PortForward {
    /// The first of `ports` leads to the port of `to`, the next to the next. `None` when these would pass 65535, or
    /// when one of the ports is 0.
    pub fn new(protocol: u8, ports: PortRange, to: SocketAddrV4) -> Option<Self> {
        to.port().checked_add(ports.last() - ports.first())?;
        (ports.first() != 0 && to.port() != 0).then_some(Self { protocol, ports, to })
    }

    /// The client that it leads to.
    pub const fn client(&self) -> Ipv4Addr {
        *self.to.ip()
    }

    fn lead(&self, port: u16) -> Option<SocketAddrV4> {
        let offset = port.checked_sub(self.ports.first()).filter(|_| self.ports.contains(port))?;
        Some(SocketAddrV4::new(*self.to.ip(), self.to.port().checked_add(offset)?))
    }
}

/// An uplink port that leads somewhere already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken;

/// All port forwards, none of which share a port. Look-up is O(log n).
#[derive(Clone, Debug, Default)]
pub struct PortForwards {
    /// By protocol and first port; no two overlap.
    sorted: Vec<PortForward>,
}

impl PortForwards {
    /// Adds one.
    ///
    /// # Errors
    /// [`Taken`], with nothing changed, when a port leads somewhere already.
    pub fn add(&mut self, forward: PortForward) -> Result<(), Taken> {
        let after = self.place_after(forward.protocol, forward.ports.first());
        let before = after.checked_sub(1).and_then(|index| self.sorted.get(index));
        let same = |other: &&PortForward| other.protocol == forward.protocol;
        let meets_before = before.filter(same).is_some_and(|b| b.ports.last() >= forward.ports.first());
        let meets_after =
            self.sorted.get(after).filter(same).is_some_and(|a| a.ports.first() <= forward.ports.last());
        if meets_before || meets_after {
            return Err(Taken);
        }
        self.sorted.insert(after, forward);
        Ok(())
    }

    /// Where an uplink port leads.
    pub fn lead(&self, protocol: u8, port: u16) -> Option<SocketAddrV4> {
        let index = self.place_after(protocol, port).checked_sub(1)?;
        self.sorted.get(index).filter(|forward| forward.protocol == protocol)?.lead(port)
    }

    /// Every protocol and uplink port that leads somewhere.
    pub fn ports(&self) -> impl Iterator<Item = (u8, u16)> + '_ {
        self.sorted.iter().flat_map(|forward| {
            (forward.ports.first()..=forward.ports.last()).map(|port| (forward.protocol, port))
        })
    }

    fn place_after(&self, protocol: u8, port: u16) -> usize {
        self.sorted.partition_point(|forward| (forward.protocol, forward.ports.first()) <= (protocol, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::service::{TCP, UDP};

    fn forward(protocol: u8, first: u16, last: u16, to: &str) -> Option<PortForward> {
        PortForward::new(protocol, PortRange::new(first, last).unwrap(), to.parse().unwrap())
    }

    #[test]
    fn each_port_leads_to_its_own() {
        let mut forwards = PortForwards::default();
        forwards.add(forward(TCP, 8000, 8010, "10.0.0.6:80").unwrap()).unwrap();
        forwards.add(forward(UDP, 8005, 8005, "10.0.0.7:53").unwrap()).unwrap();
        let lead = |protocol, port| forwards.lead(protocol, port).map(|to| alloc::format!("{to}"));
        assert_eq!(lead(TCP, 8000).as_deref(), Some("10.0.0.6:80"));
        assert_eq!(lead(TCP, 8010).as_deref(), Some("10.0.0.6:90"));
        assert_eq!(lead(UDP, 8005).as_deref(), Some("10.0.0.7:53"));
        for (protocol, port) in [(TCP, 7999), (TCP, 8011), (UDP, 8000), (UDP, 8006), (1, 8005)] {
            assert_eq!(lead(protocol, port), None);
        }
        assert_eq!(forwards.ports().count(), 12);
    }

    #[test]
    fn a_port_leads_to_one_place() {
        let mut forwards = PortForwards::default();
        forwards.add(forward(TCP, 100, 200, "10.0.0.6:100").unwrap()).unwrap();
        for (first, last) in [(50, 100), (200, 300), (120, 130), (50, 300), (100, 200)] {
            let other = forward(TCP, first, last, "10.0.0.7:1").unwrap();
            assert_eq!(forwards.add(other), Err(Taken), "{first}-{last}");
        }
        assert_eq!(forwards.add(forward(UDP, 100, 200, "10.0.0.7:1").unwrap()), Ok(()));
        assert_eq!(forwards.add(forward(TCP, 201, 300, "10.0.0.7:1").unwrap()), Ok(()));
        assert_eq!(forwards.add(forward(TCP, 1, 99, "10.0.0.7:1").unwrap()), Ok(()));
    }

    #[test]
    fn ports_beyond_the_last_and_port_zero_are_refused() {
        assert_eq!(forward(TCP, 1, 3, "10.0.0.6:65534"), None);
        assert!(forward(TCP, 1, 2, "10.0.0.6:65534").is_some());
        assert_eq!(forward(TCP, 0, 0, "10.0.0.6:1"), None);
        assert_eq!(forward(TCP, 1, 1, "10.0.0.6:0"), None);
    }
}
