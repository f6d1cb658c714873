//! Why packets are dropped, and how often: nothing disappears without being counted.

/// Where on its way through the firewall a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// As an Ethernet frame, before anybody looks at its packet.
    Frame,
    /// Its headers are read.
    Header,
    /// It is judged by where it comes from and goes to, and by the rules.
    Guard,
    /// It is found to be of a flow or a datagram, or not.
    Flow,
    /// It gets a name outside.
    Translation,
    /// It is on its way to its next hop.
    Route,
}

/// Defines [`DropReason`], its list, its names and its stages in one place.
macro_rules! reasons {
    ($($stage:ident: $($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+)+) => {
        /// Why a packet, or a frame that never became one, was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($($(#[doc = $doc])+ $name,)+)+
        }

        impl DropReason {
            /// Every reason, in the order of the stages.
            pub const ALL: &'static [DropReason] = &[$($(DropReason::$name,)+)+];

            /// The reason's name in reports: lower case, with dashes.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(DropReason::$name => $text,)+)+
                }
            }

            /// Where packets are dropped for it.
            pub const fn stage(self) -> Stage {
                match self {
                    $($(DropReason::$name => Stage::$stage,)+)+
                }
            }
        }
    };
}

reasons! {
    Frame:
    /// It is neither IPv4 nor ARP, or has an Ethernet header that cannot be read.
    Protocol = "protocol",
    /// It is for another host: not addressed to us, or an IP packet to an Ethernet group (Linux: `PACKET_OTHERHOST`).
    OtherHost = "other-host",
    /// Its Ethernet source is not its sender's.
    SpoofedMac = "spoofed-mac",
    /// It is from the uplink and claims to come from a client, or is ARP from there of whom it cannot be.
    SpoofedUplink = "spoofed-uplink",
    /// It is ARP that needs no answer.
    ArpUnanswered = "arp-unanswered",
    /// Its sender asked for a segmentation that cannot be.
    Segmentation = "segmentation",
    Header:
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
    /// It is an ICMP error, or a ping of the firewall, with a wrong checksum.
    IcmpChecksum = "icmp-checksum",
    /// It is an ICMP error that quotes no packet that could be read.
    QuoteBroken = "quote-broken",
    /// It is an ICMP error that quotes a packet with a wrong header checksum.
    QuoteChecksum = "quote-checksum",
    Guard:
    /// No client is attached to the slot it came from, or the one it is for has gone.
    NoClient = "no-client",
    /// Its source is not its sender's address (BCP 38).
    Spoofed = "spoofed",
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
    Flow:
    /// It is from the uplink, and no flow or forwarded port is for it.
    Unsolicited = "unsolicited",
    /// It is an ICMP reply to a request that nobody sent.
    EchoUnasked = "echo-unasked",
    /// It is from the middle of a TCP connection that is not known.
    TcpMidstream = "tcp-midstream",
    /// It does not belong to its TCP connection's present state.
    TcpState = "tcp-state",
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
    /// It waited when its client was detached or the firewall's address changed.
    Detached = "detached",
    Translation:
    /// Its client has as many outer ports as it may.
    PortLimit = "port-limit",
    /// No outer port of its protocol and class is free.
    PortsExhausted = "ports-exhausted",
    /// Another client has a flow with the same far end in a protocol without ports.
    ProtocolBusy = "protocol-busy",
    Route:
    /// It had no hop left.
    TtlExpired = "ttl-expired",
    /// It is larger than the next hop's MTU and may not be cut.
    TooBig = "too-big",
    /// The next hop on the uplink does not answer.
    Unreachable = "unreachable",
    /// There is no uplink, or no way to it is configured.
    NoUplink = "no-uplink",
    /// Too many packets wait for next hops that have not answered yet (Linux: `NEIGH_QUEUEFULL`).
    NeighbourQueueFull = "neighbour-queue-full",
    /// No page was free for a packet of our own.
    NoPage = "no-page",
}

/// A count for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl Default for DropCounts {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl DropCounts {
    /// Counts a packet dropped for `why`.
    pub fn count(&mut self, why: DropReason) {
        if let Some(count) = self.0.get_mut(why as usize) {
            *count += 1;
        }
    }

    /// Packets dropped for `why`.
    pub fn of(&self, why: DropReason) -> u64 {
        self.0.get(why as usize).copied().unwrap_or(0)
    }

    /// Packets dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The names of the reasons that occurred, with their counts.
    pub fn occurred(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DropReason::ALL.iter().map(|why| (why.name(), self.of(*why))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn reasons_stand_in_the_order_of_their_stages_under_names_of_their_own() {
        let stages: Vec<Stage> = DropReason::ALL.iter().map(|why| why.stage()).collect();
        assert!(stages.is_sorted());
        assert!(DropReason::ALL.iter().enumerate().all(|(position, why)| *why as usize == position));
        let mut names: Vec<&str> = DropReason::ALL.iter().map(|why| why.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }

    #[test]
    fn only_what_occurred_is_shown() {
        let mut drops = DropCounts::default();
        assert_eq!(drops.occurred().count(), 0);
        drops.count(DropReason::Spoofed);
        drops.count(DropReason::NoPage);
        drops.count(DropReason::Spoofed);
        assert!(drops.occurred().eq([("spoofed", 2), ("no-page", 1)]));
        assert_eq!((drops.of(DropReason::Spoofed), drops.total()), (2, 3));
    }
}
