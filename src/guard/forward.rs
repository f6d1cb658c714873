//! Ports of the uplink address that lead to a client.

use super::port_range::PortRange;
use super::rule_id::RuleId;
use crate::base::bug::bug;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

/// Ports of one protocol, sent on to as many neighbouring ports of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortForward {
    /// The line that says so.
    id: RuleId,
    /// IPv4 protocol number: TCP or UDP.
    protocol: u8,
    ports: PortRange,
    to: SocketAddrV4,
}

impl PortForward {
    /// The first of `ports` leads to the port of `to`, the next to the next. `None` when these would pass 65535, or
    /// when one of the ports is 0.
    pub fn new(id: RuleId, protocol: u8, ports: PortRange, to: SocketAddrV4) -> Option<Self> {
        to.port().checked_add(ports.last() - ports.first())?;
        (ports.first() != 0 && to.port() != 0).then_some(Self { id, protocol, ports, to })
    }

    /// The client that it leads to.
    pub const fn client(&self) -> Ipv4Addr {
        *self.to.ip()
    }

    fn lead(&self, port: u16) -> Option<ForwardTarget> {
        let offset = port.checked_sub(self.ports.first()).filter(|_| self.ports.contains(port))?;
        let to = SocketAddrV4::new(*self.to.ip(), self.to.port().checked_add(offset)?);
        Some(ForwardTarget { to, id: self.id })
    }
}

/// Where an uplink port leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardTarget {
    /// The client's address and port.
    pub to: SocketAddrV4,
    /// The line that says so.
    pub id: RuleId,
}

/// An uplink port that leads somewhere already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortOverlap;

/// Neighbouring ports of a client that uplink ports lead to.
#[derive(Clone, Copy, Debug)]
struct Endpoints {
    protocol: u8,
    client: Ipv4Addr,
    first: u16,
    last: u16,
    /// The uplink port that leads to the first.
    uplink_port: u16,
}

/// All port forwards, none of which share a port. Look-up is O(log n).
#[derive(Clone, Debug, Default)]
pub struct PortForwards {
    /// By protocol and first port; no two overlap.
    sorted: Vec<PortForward>,
    /// The same by protocol, client and last port of the client; where two lead to one port, as the first says.
    endpoints: Vec<Endpoints>,
}

impl PortForwards {
    /// Adds one.
    ///
    /// # Errors
    /// [`PortOverlap`], with nothing changed, when a port leads somewhere already.
    pub fn add(&mut self, forward: PortForward) -> Result<(), PortOverlap> {
        let after = self.place_after(forward.protocol, forward.ports.first());
        let before = after.checked_sub(1).and_then(|index| self.sorted.get(index));
        let same = |other: &&PortForward| other.protocol == forward.protocol;
        let meets_before = before.filter(same).is_some_and(|b| b.ports.last() >= forward.ports.first());
        let meets_after =
            self.sorted.get(after).filter(same).is_some_and(|a| a.ports.first() <= forward.ports.last());
        if meets_before || meets_after {
            return Err(PortOverlap);
        }
        self.sorted.insert(after, forward);
        self.add_endpoints(&forward);
        Ok(())
    }

    /// Adds those of its ports that do not lead anywhere yet.
    pub(super) fn add_rest(&mut self, forward: PortForward) {
        let mut first = forward.ports.first();
        loop {
            let taken = |port| self.next_taken(forward.protocol, port);
            // Up to where `first` is free, and behind what.
            let (last, behind) = match taken(first) {
                Some(ports) if ports.first() <= first => (None, ports.last()),
                Some(ports) => (Some(ports.first() - 1), ports.last()),
                None => (Some(u16::MAX), u16::MAX),
            };
            if let Some(last) = last {
                let part = PortRange::new(first, last.min(forward.ports.last()));
                let to = forward.lead(first).map(|target| target.to);
                let part = part.zip(to);
                let part =
                    part.and_then(|(part, to)| PortForward::new(forward.id, forward.protocol, part, to));
                if part.is_none_or(|part| self.add(part).is_err()) {
                    bug("ports that were free lead somewhere");
                }
            }
            match behind.checked_add(1) {
                Some(next) if next <= forward.ports.last() => first = next,
                _ => return,
            }
        }
    }

    /// The ports of the first forward that ends at `port` or behind it.
    fn next_taken(&self, protocol: u8, port: u16) -> Option<PortRange> {
        let at = self.sorted.partition_point(|it| (it.protocol, it.ports.last()) < (protocol, port));
        self.sorted.get(at).filter(|it| it.protocol == protocol).map(|it| it.ports)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = PortForward> + '_ {
        self.sorted.iter().copied()
    }

    /// Notes the client's ports that `forward` leads to and no other did.
    fn add_endpoints(&mut self, forward: &PortForward) {
        let (protocol, client, start) = (forward.protocol, forward.client(), forward.to.port());
        let end = start.saturating_add(forward.ports.last() - forward.ports.first());
        let mut first = start;
        loop {
            let at = self.endpoints_from(protocol, client, first);
            let next = self.endpoints.get(at).filter(|it| it.protocol == protocol && it.client == client);
            let last = match next {
                Some(next) if next.first <= first => None,
                Some(next) => Some(end.min(next.first - 1)),
                None => Some(end),
            };
            let covered = next.map_or(end, |next| next.last);
            if let Some(last) = last {
                let uplink_port = forward.ports.first() + (first - start);
                self.endpoints.insert(at, Endpoints { protocol, client, first, last, uplink_port });
            }
            match last.unwrap_or(covered).checked_add(1) {
                Some(next) if next <= end => first = next,
                _ => return,
            }
        }
    }

    /// Where in `endpoints` the one is that holds this port, or the next.
    fn endpoints_from(&self, protocol: u8, client: Ipv4Addr, port: u16) -> usize {
        self.endpoints.partition_point(|it| (it.protocol, it.client, it.last) < (protocol, client, port))
    }

    /// The uplink port that leads to a port of a client; of several the one that was added first.
    pub fn port_to(&self, protocol: u8, endpoint: SocketAddrV4) -> Option<u16> {
        let (client, port) = (*endpoint.ip(), endpoint.port());
        let it = self.endpoints.get(self.endpoints_from(protocol, client, port))?;
        let holds = it.protocol == protocol && it.client == client && it.first <= port;
        holds.then(|| it.uplink_port + (port - it.first))
    }

    /// Where an uplink port leads.
    pub fn lead(&self, protocol: u8, port: u16) -> Option<ForwardTarget> {
        let index = self.place_after(protocol, port).checked_sub(1)?;
        self.sorted.get(index).filter(|forward| forward.protocol == protocol)?.lead(port)
    }

    /// The lines that say so.
    pub(super) fn ids(&self) -> impl Iterator<Item = RuleId> + '_ {
        self.sorted.iter().map(|forward| forward.id)
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
        let ports = PortRange::new(first, last).unwrap();
        PortForward::new(RuleId::in_file(first.into()), protocol, ports, to.parse().unwrap())
    }

    #[test]
    fn each_port_leads_to_its_own() {
        let mut forwards = PortForwards::default();
        forwards.add(forward(TCP, 8000, 8010, "10.0.0.6:80").unwrap()).unwrap();
        forwards.add(forward(UDP, 8005, 8005, "10.0.0.7:53").unwrap()).unwrap();
        let lead =
            |protocol, port| forwards.lead(protocol, port).map(|target| alloc::format!("{}", target.to));
        assert_eq!(lead(TCP, 8000).as_deref(), Some("10.0.0.6:80"));
        assert_eq!(lead(TCP, 8010).as_deref(), Some("10.0.0.6:90"));
        assert_eq!(lead(UDP, 8005).as_deref(), Some("10.0.0.7:53"));
        for (protocol, port) in [(TCP, 7999), (TCP, 8011), (UDP, 8000), (UDP, 8006), (1, 8005)] {
            assert_eq!(lead(protocol, port), None);
        }
        assert_eq!(forwards.ports().count(), 12);
        let line = |protocol, port| forwards.lead(protocol, port).map(|target| target.id.line);
        assert_eq!((line(TCP, 8010), line(UDP, 8005)), (Some(8000), Some(8005)));
    }

    #[test]
    fn a_port_leads_to_one_place() {
        let mut forwards = PortForwards::default();
        forwards.add(forward(TCP, 100, 200, "10.0.0.6:100").unwrap()).unwrap();
        for (first, last) in [(50, 100), (200, 300), (120, 130), (50, 300), (100, 200)] {
            let other = forward(TCP, first, last, "10.0.0.7:1").unwrap();
            assert_eq!(forwards.add(other), Err(PortOverlap), "{first}-{last}");
        }
        assert_eq!(forwards.add(forward(UDP, 100, 200, "10.0.0.7:1").unwrap()), Ok(()));
        assert_eq!(forwards.add(forward(TCP, 201, 300, "10.0.0.7:1").unwrap()), Ok(()));
        assert_eq!(forwards.add(forward(TCP, 1, 99, "10.0.0.7:1").unwrap()), Ok(()));
    }

    #[test]
    fn of_a_forward_the_ports_are_added_that_lead_nowhere_yet() {
        let mut forwards = PortForwards::default();
        for (first, last) in [(100, 110), (120, 120), (130, 65_535)] {
            forwards.add(forward(TCP, first, last, "10.0.0.6:1").unwrap()).unwrap();
        }
        let before = forwards.clone();
        forwards.add_rest(forward(TCP, 105, 65_535, "10.0.0.7:5").unwrap());
        forwards.add_rest(forward(TCP, 90, 140, "10.0.0.8:90").unwrap());
        for port in 1..=u16::MAX {
            let expected = before.lead(TCP, port).map(|target| target.to).or(match port {
                90..=99 => Some(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 8), port)),
                105..=140 => Some(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 7), port - 100)),
                _ => None,
            });
            assert_eq!(forwards.lead(TCP, port).map(|target| target.to), expected, "{port}");
        }
        let alone = forward(UDP, 1, u16::MAX, "10.0.0.7:1").unwrap();
        forwards.add_rest(alone);
        assert_eq!(forwards.ports().filter(|(protocol, _)| *protocol == UDP).count(), 65_535);
    }

    #[test]
    fn each_endpoint_has_the_port_that_was_first_led_to_it() {
        let mut forwards = PortForwards::default();
        for (first, last, to) in [
            (8000, 8010, "10.0.0.6:80"),
            (100, 100, "10.0.0.6:60"),
            (200, 250, "10.0.0.6:50"),
            (1, 1, "10.0.0.7:85"),
        ] {
            forwards.add(forward(TCP, first, last, to).unwrap()).unwrap();
        }
        let port_to = |protocol, to: &str| forwards.port_to(protocol, to.parse().unwrap());
        for port in 1..=200u16 {
            let expected = match port {
                80..=90 => Some(8000 + port - 80),
                60 => Some(100),
                50..=100 => Some(200 + port - 50),
                _ => None,
            };
            assert_eq!(port_to(TCP, &alloc::format!("10.0.0.6:{port}")), expected, "{port}");
        }
        assert_eq!(port_to(TCP, "10.0.0.7:85"), Some(1));
        assert_eq!((port_to(TCP, "10.0.0.7:86"), port_to(UDP, "10.0.0.6:80")), (None, None));
    }

    #[test]
    fn ports_beyond_the_last_and_port_zero_are_refused() {
        assert_eq!(forward(TCP, 1, 3, "10.0.0.6:65534"), None);
        assert!(forward(TCP, 1, 2, "10.0.0.6:65534").is_some());
        assert_eq!(forward(TCP, 0, 0, "10.0.0.6:1"), None);
        assert_eq!(forward(TCP, 1, 1, "10.0.0.6:0"), None);
    }
}
