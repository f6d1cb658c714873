//! What the model lets pass without a judgement: every reason that there is, and how often each of them was one.

use core::fmt;

/// Why a packet is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// See [`EXCUSES`].
    Arp,
    /// See [`EXCUSES`].
    Nonsense,
    /// See [`EXCUSES`].
    Fragment,
    /// See [`EXCUSES`].
    IcmpError,
    /// See [`EXCUSES`].
    OwnReset,
    /// See [`EXCUSES`].
    OwnEchoReply,
    /// See [`EXCUSES`].
    Attacker,
    /// See [`EXCUSES`].
    HostileUplink,
    /// See [`EXCUSES`].
    NoRules,
}

/// Every excuse, its name in the report, and why there is no judgement.
pub const EXCUSES: [(Excuse, &str, &str); 9] = [
    (Excuse::Arp, "ARP", "is the firewall's own and never forwarded"),
    (
        Excuse::Nonsense,
        "nonsense",
        "nobody knows what a hostile client meant to send to the nonsense network",
    ),
    (Excuse::Fragment, "fragments", "the firewall may cut packets, and only the first piece has ports"),
    (Excuse::IcmpError, "ICMP errors", "quote a part of another packet; the engine's tests compare them"),
    (Excuse::OwnReset, "resets", "the firewall refuses connections in the far end's name"),
    (Excuse::OwnEchoReply, "echo replies", "the firewall answers pings of its own address to clients"),
    (Excuse::Attacker, "to attackers", "what a hostile client asked for is not remembered"),
    (Excuse::HostileUplink, "hostile uplink", "it changes what it delivers, and what is in its ring"),
    (Excuse::NoRules, "without rules", "the run gives the model none, and judges what arrives by itself"),
];

/// How many packets were judged, and how many were excused for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgements {
    judged: u64,
    excused: [u64; EXCUSES.len()],
}

impl Judgements {
    /// Counts a packet: judged, if there is no excuse.
    pub fn count(&mut self, excuse: Option<Excuse>) {
        match EXCUSES.iter().position(|&(known, ..)| Some(known) == excuse) {
            Some(place) => self.excused[place] += 1,
            None => self.judged += 1,
        }
    }

    /// Packets that were held against the model.
    pub fn judged(&self) -> u64 {
        self.judged
    }

    /// All packets that left the firewall.
    pub fn packets(&self) -> u64 {
        self.judged + self.excused.iter().sum::<u64>()
    }

    /// Packets with this excuse.
    pub fn excused(&self, excuse: Excuse) -> u64 {
        EXCUSES
            .iter()
            .zip(self.excused)
            .filter(|((known, ..), _)| *known == excuse)
            .map(|(_, count)| count)
            .sum()
    }
}

impl core::ops::AddAssign for Judgements {
    fn add_assign(&mut self, other: Self) {
        self.judged += other.judged;
        self.excused.iter_mut().zip(other.excused).for_each(|(sum, count)| *sum += count);
    }
}

impl fmt::Display for Judgements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "judged {} of {} packets", self.judged, self.packets())?;
        for (place, ((_, name, _), count)) in EXCUSES.iter().zip(self.excused).enumerate() {
            write!(f, "{} {count} {name}", if place == 0 { "; not judged:" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_excuse_was_judged() {
        let mut sum = Judgements::default();
        for (excuse, ..) in EXCUSES {
            sum.count(Some(excuse));
            assert_eq!(sum.excused(excuse), 1, "{excuse:?} stands in the table once");
        }
        sum.count(None);
        assert_eq!((sum.judged(), sum.packets()), (1, 1 + EXCUSES.len() as u64));
    }
}
