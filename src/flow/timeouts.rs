//! How long a flow may be silent, by what it is and how far it got.

use super::record::{Flow, FlowStage};
use super::tcp::TcpStage;
use crate::base::address::Address;
use crate::base::tick::Seconds;
use crate::wire::ipv4::protocol;
use crate::wire::udp;

/// The silence each kind of flow survives. The defaults are the conformance table's (TU, TT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A TCP handshake that is not complete (RFC 5382 REQ-5, RFC 7857 section 2: at least 240).
    pub tcp_opening: Seconds,
    /// An open TCP connection (RFC 5382 REQ-5: at least 7,440).
    pub tcp_established: Seconds,
    /// A TCP connection after both FINs or a RST (at least 240).
    pub tcp_closing: Seconds,
    /// UDP that nobody answered yet (RFC 4787 REQ-5: at least 120).
    pub udp_unreplied: Seconds,
    /// UDP that was answered once (RFC 4787 REQ-5: at least 120).
    pub udp_replied: Seconds,
    /// UDP that goes both ways (RFC 4787 REQ-5c: 300).
    pub udp_assured: Seconds,
    /// DNS over UDP after the answer (RFC 4787 REQ-5a lets well-known ports be shorter).
    pub dns_replied: Seconds,
    /// An ICMP query (RFC 5508 REQ-2: at least 60).
    pub icmp: Seconds,
    /// Another IP protocol that nobody answered yet.
    pub other_unreplied: Seconds,
    /// Another IP protocol that was answered.
    pub other_replied: Seconds,
    /// A datagram of which fragments are missing (RFC 791 section 3.2: at least 15).
    pub fragments: Seconds,
    /// How long an outer port is in quarantine before another client may get it (RFC 6888 REQ-8: 120).
    pub port_quarantine: Seconds,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            tcp_opening: Seconds(240),
            tcp_established: Seconds(7500),
            tcp_closing: Seconds(240),
            udp_unreplied: Seconds(120),
            udp_replied: Seconds(120),
            udp_assured: Seconds(300),
            dns_replied: Seconds(60),
            icmp: Seconds(60),
            other_unreplied: Seconds(120),
            other_replied: Seconds(600),
            fragments: Seconds(30),
            port_quarantine: Seconds(120),
        }
    }
}

impl Timeouts {
    /// The silence a TCP connection survives at `stage`.
    pub const fn of_tcp(&self, stage: TcpStage) -> Seconds {
        match stage {
            TcpStage::SynSent | TcpStage::SynSent2 | TcpStage::SynReceived => self.tcp_opening,
            TcpStage::Established | TcpStage::NearFinReceived | TcpStage::FarFinReceived => {
                self.tcp_established
            }
            TcpStage::BothFinReceived | TcpStage::Reset => self.tcp_closing,
        }
    }

    /// The same as [`Self::of`], and quicker for most UDP: for whoever asks with each packet.
    #[inline(always)]
    pub const fn of_usual<A: Address>(&self, flow: &Flow<A>) -> Seconds {
        match (flow.stage, flow.protocol) {
            (FlowStage::Assured, protocol::UDP) if flow.far_port != udp::DNS => self.udp_assured,
            (FlowStage::Unreplied, protocol::UDP) => self.udp_unreplied,
            _ => self.of(flow),
        }
    }

    /// The silence `flow` survives at its present stage.
    pub const fn of<A: Address>(&self, flow: &Flow<A>) -> Seconds {
        match (flow.stage, flow.protocol) {
            (FlowStage::Tcp(stage), _) => self.of_tcp(stage),
            (_, protocol) if protocol == A::ICMP => self.icmp,
            (FlowStage::Unreplied, protocol::UDP) => self.udp_unreplied,
            (_, protocol::UDP) if flow.far_port == udp::DNS => self.dns_replied,
            (FlowStage::Replied | FlowStage::Resumed, protocol::UDP) => self.udp_replied,
            (FlowStage::Assured, protocol::UDP) => self.udp_assured,
            (FlowStage::Unreplied, _) => self.other_unreplied,
            (FlowStage::Replied | FlowStage::Resumed | FlowStage::Assured, _) => self.other_replied,
        }
    }
}
