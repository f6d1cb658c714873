//! Frames that the firewall itself dropped, by reason. (Rings, flows and rules keep their own counts.)

use crate::guard::antispoof::Spoof;
use core::fmt;

/// Why a frame went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameDrop {
    /// Not addressed to us: another host's, or an IP packet to an Ethernet group.
    NotForUs,
    /// Neither IPv4 nor ARP, or a header that cannot be read.
    Protocol,
    /// A client's Ethernet source is not its own.
    SpoofedMac,
    /// A client's IPv4 source is not its own.
    SpoofedAddress,
    /// A packet from the uplink claims to come from a client, or ARP from there to be who it cannot be.
    SpoofedUplink,
    /// ARP that needs no answer.
    ArpUnanswered,
    /// There is no uplink, or no way to it is configured.
    NoUplink,
    /// The client it is for has gone.
    NoClient,
    /// Too many packets wait for a next hop that has not answered yet.
    NeighbourSilent,
    /// No page was free for a packet of our own.
    NoPage,
    /// Larger than what it leaves by takes, and not to be cut.
    TooLarge,
    /// Its sender asked for a segmentation that cannot be.
    Segmentation,
}

impl From<Spoof> for FrameDrop {
    fn from(spoof: Spoof) -> Self {
        match spoof {
            Spoof::Mac => Self::SpoofedMac,
            Spoof::Address => Self::SpoofedAddress,
        }
    }
}

const REASONS: [(FrameDrop, &str); 12] = [
    (FrameDrop::NotForUs, "not for us"),
    (FrameDrop::Protocol, "protocol"),
    (FrameDrop::SpoofedMac, "spoofed mac"),
    (FrameDrop::SpoofedAddress, "spoofed address"),
    (FrameDrop::SpoofedUplink, "spoofed uplink"),
    (FrameDrop::ArpUnanswered, "arp unanswered"),
    (FrameDrop::NoUplink, "no uplink"),
    (FrameDrop::NoClient, "no client"),
    (FrameDrop::NeighbourSilent, "neighbour silent"),
    (FrameDrop::NoPage, "no page"),
    (FrameDrop::TooLarge, "too large"),
    (FrameDrop::Segmentation, "segmentation"),
];

/// A count for each reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameDrops([u64; REASONS.len()]);

impl FrameDrops {
    /// Counts one.
    pub fn count(&mut self, why: FrameDrop) {
        self.0[why as usize] += 1;
    }

    /// The reasons that occurred, with their counts.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.iter().map(|&(why, name)| (name, self.of(why))).filter(|(_, count)| *count > 0)
    }

    /// How many so far.
    pub fn of(&self, why: FrameDrop) -> u64 {
        self.0[why as usize]
    }
}

impl fmt::Display for FrameDrops {
    /// The reasons that occurred, with their counts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (why, name) in REASONS {
            if self.of(why) > 0 {
                write!(f, "{separator}{name} {}", self.of(why))?;
                separator = ", ";
            }
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn table_is_in_the_order_of_the_enum() {
        assert!(REASONS.iter().enumerate().all(|(index, (why, _))| *why as usize == index));
    }

    #[test]
    fn only_what_occurred_is_shown() {
        let mut drops = FrameDrops::default();
        assert_eq!(drops.to_string(), "none");
        drops.count(FrameDrop::SpoofedAddress);
        drops.count(FrameDrop::SpoofedAddress);
        drops.count(FrameDrop::NoPage);
        assert_eq!(drops.to_string(), "spoofed address 2, no page 1");
    }
}
