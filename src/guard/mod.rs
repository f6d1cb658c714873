//! Stand-in for the rule table until the policy work is merged (take that version on conflict).

pub mod antispoof;

use crate::time::UnixSeconds;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

/// What a rule table is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Who opens the flow.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// IP protocol.
    pub protocol: u8,
    /// Destination port of TCP and UDP.
    pub destination_port: Option<u16>,
    /// Type of ICMP.
    pub icmp_type: Option<u8>,
    /// The wall clock.
    pub now: UnixSeconds,
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Let it pass.
    Accept,
    /// Refuse it with an ICMP error.
    Reject,
    /// Nobody knows this source.
    Unknown,
}

/// Stand-in for the rule table.
#[derive(Clone, Debug)]
pub struct RuleTable {
    outward: Answer,
    between: Answer,
    forwards: Vec<(u8, u16, SocketAddrV4)>,
}

impl RuleTable {
    /// Judges a flow from a client to the uplink.
    pub fn outward(&self, _: &Question) -> Answer {
        self.outward
    }

    /// Judges a flow from one client to another.
    pub fn between(&self, _: &Question) -> Answer {
        self.between
    }

    /// Where an uplink port is forwarded to.
    pub fn port_forward(&self, protocol: u8, uplink_port: u16) -> Option<SocketAddrV4> {
        self.forwards.iter().find(|f| f.0 == protocol && f.1 == uplink_port).map(|f| f.2)
    }

    /// All forwarded ports.
    pub fn forwarded_ports(&self) -> impl Iterator<Item = (u8, u16)> {
        self.forwards.iter().map(|f| (f.0, f.1))
    }

    /// Clients may reach the outside; nothing else.
    pub fn allow_all() -> Self {
        RuleTable { outward: Answer::Accept, between: Answer::Reject, forwards: Vec::new() }
    }

    /// Nothing passes.
    pub fn block_all() -> Self {
        RuleTable { outward: Answer::Reject, ..Self::allow_all() }
    }

    /// Test only: every client reaches every other.
    pub fn permitting(mut self) -> Self {
        self.between = Answer::Accept;
        self
    }

    /// Test only: one forwarded port more.
    pub fn forwarding(mut self, protocol: u8, uplink_port: u16, to: SocketAddrV4) -> Self {
        self.forwards.push((protocol, uplink_port, to));
        self
    }
}
