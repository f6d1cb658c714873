//! Where a rule was written: by this it is known to whoever asks which rule decided.

use core::fmt;
use core::net::Ipv4Addr;

/// A text that rules are read from, which decides what they may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleSource {
    /// The static file, written by a person: `expire=` and `comment=` are known, and `dstports=` and
    /// `icmptype=` need their `proto=`, as in Qubes' API.
    File,
    /// `vm-config.ravelin-base-…`: what holds for all clients, written as in the file.
    Base,
    /// `vm-config.ravelin-permit-…`: between clients, written as in the file.
    Permit,
    /// `vm-config.ravelin-forward-…`: ports of the uplink, written as in the file.
    Forward,
    /// `/qubes-firewall/ADDRESS/…`, written by qubesd for one client: no `expire=` and `comment=`, any order; a missing
    /// `proto=` with `dstports=` means TCP and UDP, with `icmptype=` ICMP, as for Qubes' Linux agent.
    Client(Ipv4Addr),
}

impl RuleSource {
    /// Whether qubesd writes it.
    pub const fn is_written_by_qubesd(self) -> bool {
        matches!(self, Self::Client(_))
    }
}

/// A rule, by its place in the text that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// The text.
    pub source: RuleSource,
    /// The line in it, the first being 1; of a client's rules the number that is their key.
    pub line: u32,
}

impl RuleId {
    /// The number that stands for a client's `policy`: behind all others.
    pub const POLICY: u32 = 10_000;

    /// The rule on a line of the static file.
    pub const fn in_file(line: u32) -> Self {
        Self { source: RuleSource::File, line }
    }

    /// A number that grows with the line, and from one text to the next.
    pub(super) const fn order(self) -> u64 {
        let line = self.line as u64;
        match self.source {
            RuleSource::File => line,
            RuleSource::Base => 1 << 32 | line,
            RuleSource::Permit => 2 << 32 | line,
            RuleSource::Forward => 3 << 32 | line,
            // These have at most 14 bits of numbers.
            RuleSource::Client(address) => 1 << 63 | (address.to_bits() as u64) << 16 | line,
        }
    }
}

/// As messages about mistakes in the rules begin: `rules:5`, or the key in QubesDB.
impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            RuleSource::File => "rules",
            RuleSource::Base => "ravelin-base",
            RuleSource::Permit => "ravelin-permit",
            RuleSource::Forward => "ravelin-forward",
            RuleSource::Client(address) if self.line == Self::POLICY => {
                return write!(f, "/qubes-firewall/{address}/policy");
            }
            RuleSource::Client(address) => return write!(f, "/qubes-firewall/{address}/{:04}", self.line),
        };
        write!(f, "{source}:{}", self.line)
    }
}
