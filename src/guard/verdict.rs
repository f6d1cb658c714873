//! What the rule table is asked, and what it answers.

use crate::base::time::UnixSeconds;
use core::net::Ipv4Addr;

/// The packet that would begin a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The client that sends it.
    pub source: Ipv4Addr,
    /// Where it wants to go.
    pub destination: Ipv4Addr,
    /// The IPv4 header's protocol number.
    pub protocol: u8,
    /// The destination port, if the protocol is TCP or UDP. Without it such a packet is refused.
    pub destination_port: Option<u16>,
    /// The ICMP type, if the protocol is ICMP. Without it such a packet is refused.
    pub icmp_type: Option<u8>,
    /// The wall clock, for rules that expire.
    pub now: UnixSeconds,
}

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It passes, and so does the flow that it begins.
    Accept,
    /// A rule, the policy or a blocked section refuses it: the sender is told (ICMP 3/13).
    Reject,
    /// Nothing is known of its source: it vanishes silently.
    Unknown,
}
