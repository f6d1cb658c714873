//! What a packet wants of its destination, as one number: protocol and port, ICMP type, or protocol alone.
//!
//! All services lie on one line, so what a rule accepts is one or two intervals of it:
//! TCP ports from 0, UDP ports from 65,536, ICMP types from 131,072, other protocols from 131,328.

use super::port_range::PortRange;
use super::rule::Protocol;
use super::ruling::FlowRequest;

/// IPv4 protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IPv4 protocol number of TCP.
pub const TCP: u8 = 6;
/// IPv4 protocol number of UDP.
pub const UDP: u8 = 17;

const UDP_BASE: u32 = 0x1_0000;
const ICMP_BASE: u32 = 0x2_0000;
const OTHER_BASE: u32 = 0x2_0100;
const LAST: u32 = 0x2_01ff;

/// One place on the line of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceNumber(pub(super) u32);

impl ServiceNumber {
    /// What the packet wants; `None` for TCP or UDP without a port and ICMP without a type.
    pub fn of(request: &FlowRequest) -> Option<ServiceNumber> {
        Some(ServiceNumber(match request.protocol {
            TCP => u32::from(request.destination_port?),
            UDP => UDP_BASE + u32::from(request.destination_port?),
            ICMP => ICMP_BASE + u32::from(request.icmp_type?),
            other => OTHER_BASE + u32::from(other),
        }))
    }

    /// The next place; behind the last one there is a place that no packet wants.
    pub(super) const fn next(self) -> ServiceNumber {
        ServiceNumber(self.0 + 1)
    }
}

/// Neighbouring places on the line, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRange {
    /// The first.
    pub first: ServiceNumber,
    /// The last, not before the first.
    pub last: ServiceNumber,
}

impl ServiceRange {
    /// Whatever there is.
    pub const ALL: ServiceRange = ServiceRange::between(0, LAST);

    const fn between(first: u32, last: u32) -> ServiceRange {
        ServiceRange { first: ServiceNumber(first), last: ServiceNumber(last) }
    }

    /// Everything of a protocol.
    pub const fn of_protocol(protocol: Protocol) -> ServiceRange {
        match protocol {
            Protocol::Tcp => Self::between(0, UDP_BASE - 1),
            Protocol::Udp => Self::between(UDP_BASE, ICMP_BASE - 1),
            Protocol::Icmp => Self::between(ICMP_BASE, OTHER_BASE - 1),
        }
    }

    /// TCP ports.
    pub const fn tcp(ports: PortRange) -> ServiceRange {
        Self::between(ports.first() as u32, ports.last() as u32)
    }

    /// UDP ports.
    pub const fn udp(ports: PortRange) -> ServiceRange {
        Self::between(UDP_BASE + ports.first() as u32, UDP_BASE + ports.last() as u32)
    }

    /// One ICMP type.
    pub const fn icmp(kind: u8) -> ServiceRange {
        Self::between(ICMP_BASE + kind as u32, ICMP_BASE + kind as u32)
    }

    /// Whether `service` is one of them.
    pub fn contains(self, service: ServiceNumber) -> bool {
        self.first <= service && service <= self.last
    }
}
