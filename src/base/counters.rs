//! Why packets were dropped, and how often: nothing disappears without being counted.

use crate::base::text::counts;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Defines [`DropReason`], its list and its names in one place.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)+];

            /// The reason's name in reports: lower case, with dashes.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$name => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// No client is attached to the slot it came from.
    NoClient = "no-client",
    /// Its source is not its sender's address (BCP 38).
    Spoofed = "spoofed",
    /// Its IP header is not all there.
    IpShort = "ip-short",
    /// It is not IPv4.
    IpVersion = "ip-version",
    /// Its IP header length is below 20 bytes.
    IpHeaderLength = "ip-header-length",
    /// Its total length fits neither its header nor its frame.
    IpTotalLength = "ip-total-length",
    /// Its IP header checksum is wrong.
    IpChecksum = "ip-checksum",
    /// It is a fragment that cannot be: beyond 65,535 bytes, or of a length no fragment has.
    FragmentShape = "fragment-shape",
    /// It carries a source route (RFC 7126).
    SourceRoute = "source-route",
    /// Its IP options run out of the header.
    IpOptions = "ip-options",
    /// Its TCP header is not all there or lies about its length.
    TcpHeader = "tcp-header",
    /// Its TCP flags are a combination that no TCP sends.
    TcpFlags = "tcp-flags",
    /// Its UDP header is not all there or lies about its length.
    UdpHeader = "udp-header",
    /// Its ICMP header is not all there.
    IcmpHeader = "icmp-header",
    /// It is an ICMP message of a type that is not passed.
    IcmpKind = "icmp-kind",
    /// It comes from or goes to an address that cannot be forwarded (RFC 1812 section 5.3.7).
    Martian = "martian",
    /// It goes to many.
    Multicast = "multicast",
    /// It is for a DHCP client.
    Dhcp = "dhcp",
    /// A client sent it to the firewall's uplink address: clients do not reach each other that way.
    Hairpin = "hairpin",
    /// It is for the firewall itself, which takes nothing but pings.
    ForFirewall = "for-firewall",
    /// It is a ping of our address on the uplink, and there are too many.
    PingRate = "ping-rate",
    /// A rule refuses it.
    Rule = "rule",
    /// No rule knows its source.
    UnknownSource = "unknown-source",
    /// It is from the uplink, and not for our address there.
    NotForUs = "not-for-us",
    /// It is from the uplink, and its source is a client's address or our own.
    InsideSource = "inside-source",
    /// It is from the uplink, and no flow or forwarded port is for it.
    Unsolicited = "unsolicited",
    /// It is an ICMP reply to a request that nobody sent.
    EchoUnasked = "echo-unasked",
    /// It is from the middle of a TCP connection that is not known.
    TcpMidstream = "tcp-midstream",
    /// It does not belong to its TCP connection's present state.
    TcpState = "tcp-state",
    /// It had no hop left.
    TtlExpired = "ttl-expired",
    /// It is larger than the next hop's MTU and may not be cut.
    TooBig = "too-big",
    /// It is an ICMP error, or a ping of the firewall, with a wrong checksum.
    IcmpChecksum = "icmp-checksum",
    /// It is an ICMP error that quotes no packet that could be read.
    QuoteBroken = "quote-broken",
    /// It is an ICMP error that quotes a packet with a wrong header checksum.
    QuoteChecksum = "quote-checksum",
    /// It is an ICMP error about a packet of no flow.
    QuoteUnknown = "quote-unknown",
    /// It is an ICMP error about a TCP segment that is not on its way.
    QuoteSequence = "quote-sequence",
    /// It is an ICMP error to somebody else than the sender of the packet it quotes.
    QuoteMisdirected = "quote-misdirected",
    /// Its client has as many flows as it may, and none to spare.
    FlowLimit = "flow-limit",
    /// Its client opens flows too fast.
    FlowRate = "flow-rate",
    /// Its client has as many outer ports as it may.
    PortLimit = "port-limit",
    /// No outer port of its protocol and class is free.
    PortsExhausted = "ports-exhausted",
    /// Another client has a flow with the same far end in a protocol without ports.
    ProtocolBusy = "protocol-busy",
    /// It is a fragment, and its sender has too many incomplete datagrams or bytes waiting.
    FragmentLimit = "fragment-limit",
    /// It is a fragment of a datagram whose fragments overlap or contradict each other.
    FragmentOverlap = "fragment-overlap",
    /// It is a fragment of which every byte has arrived before.
    FragmentDuplicate = "fragment-duplicate",
    /// It is a fragment that leaves the layer-4 header incomplete (RFC 1858).
    FragmentTiny = "fragment-tiny",
    /// It waited for the first fragment of its datagram too long.
    FragmentTimeout = "fragment-timeout",
    /// It is a fragment of a datagram that was refused.
    FragmentRefused = "fragment-refused",
    /// It is a fragment with work left to its receiver, which needs the whole datagram.
    FragmentOffload = "fragment-offload",
    /// The next hop on the uplink does not answer.
    Unreachable = "unreachable",
    /// It waited when its client was detached or the firewall's address changed.
    Detached = "detached",
}

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    dropped: [u64; DropReason::ALL.len()],
    /// Packets forwarded from a client to the uplink.
    pub outward: u64,
    /// Packets forwarded from the uplink to a client.
    pub inward: u64,
    /// Packets forwarded from one client to another, and pings answered.
    pub between: u64,
    /// Flows entered.
    pub opened: u64,
    /// Flows that were silent too long.
    pub expired: u64,
    /// Flows that gave way to a newer one of the same account.
    pub evicted: u64,
    /// Flows that new rules, or another client or uplink address, put an end to.
    pub revoked: u64,
    /// ICMP errors and RSTs sent.
    pub answered: u64,
    /// ICMP errors and RSTs not sent because too many were.
    pub unanswered: u64,
}

impl Counters {
    /// Everything that was counted, for the console: a group to a line, of reasons for drops those that occurred. What
    /// passed comes last.
    pub fn lines(&self) -> Vec<String> {
        let Counters {
            dropped,
            outward,
            inward,
            between,
            opened,
            expired,
            evicted,
            revoked,
            answered,
            unanswered,
        } = *self;
        let reasons = DropReason::ALL.iter().map(|why| why.name()).zip(dropped);
        let mut lines = counts("dropped:", reasons.filter(|(_, count)| *count > 0));
        lines
            .push(format!("flows: {opened} opened, {expired} expired, {evicted} evicted, {revoked} revoked"));
        lines.push(format!("errors and resets: {answered} answered, {unanswered} unanswered"));
        lines.push(format!("packets: {outward} outward, {inward} inward, {between} between clients"));
        lines
    }
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            dropped: [0; DropReason::ALL.len()],
            outward: 0,
            inward: 0,
            between: 0,
            opened: 0,
            expired: 0,
            evicted: 0,
            revoked: 0,
            answered: 0,
            unanswered: 0,
        }
    }
}

impl Counters {
    /// Packets dropped for `why`.
    pub fn dropped(&self, why: DropReason) -> u64 {
        self.dropped.get(why as usize).copied().unwrap_or(0)
    }

    /// Counts a packet dropped for `why`.
    pub fn drop(&mut self, why: DropReason) {
        if let Some(count) = self.dropped.get_mut(why as usize) {
            *count += 1;
        }
    }

    /// Packets dropped for any reason.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_6_every_counter_is_on_a_line_that_the_console_takes_whole() {
        let all = Counters {
            dropped: [u64::MAX; DropReason::ALL.len()],
            outward: 11,
            inward: 12,
            between: 13,
            opened: 14,
            expired: 15,
            evicted: 16,
            revoked: 17,
            answered: 18,
            unanswered: u64::MAX,
        };
        let lines = all.lines();
        assert!(lines.iter().all(|line| line.len() < 450), "{lines:?}");
        let text = lines.join("\n");
        let names = DropReason::ALL.iter().map(|why| format!("{} {}", u64::MAX, why.name()));
        let shown = ["11 outward", "12 inward", "13 between", "14 opened", "15 expired", "16 evicted"];
        let more = ["17 revoked", "18 answered", "18446744073709551615 unanswered"];
        for expected in names.chain(shown.into_iter().chain(more).map(String::from)) {
            assert!(text.contains(&expected), "{expected} is missing:\n{text}");
        }
        assert_eq!(Counters::default().lines().len(), 3);
    }
}
