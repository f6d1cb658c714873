//! What can be wrong on the kernel command line, and how the console says so.

use super::host_address::UnusableAddress;
use crate::base::text::{Column, Excerpt};
use core::fmt;
use core::net::Ipv4Addr;

/// An option, in the order in which messages list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionName {
    /// `ipv4=`
    Ipv4,
    /// `gateway=`
    Gateway,
    /// `client-gateway=`
    ClientGateway,
    /// `dns=`
    Dns,
    /// `client-flows=`
    ClientFlows,
    /// `client-ports=`
    ClientPorts,
    /// `client-new-flows=`
    ClientNewFlows,
    /// `uplink-pings=`
    UplinkPings,
    /// `log=`
    Log,
    /// `debug=`
    Debug,
    /// `measure=`
    Measure,
}

impl OptionName {
    pub(super) const ALL: [OptionName; 11] = [
        Self::Ipv4,
        Self::Gateway,
        Self::ClientGateway,
        Self::Dns,
        Self::ClientFlows,
        Self::ClientPorts,
        Self::ClientNewFlows,
        Self::UplinkPings,
        Self::Log,
        Self::Debug,
        Self::Measure,
    ];

    /// What is written before the `=`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Gateway => "gateway",
            Self::ClientGateway => "client-gateway",
            Self::Dns => "dns",
            Self::ClientFlows => "client-flows",
            Self::ClientPorts => "client-ports",
            Self::ClientNewFlows => "client-new-flows",
            Self::UplinkPings => "uplink-pings",
            Self::Log => "log",
            Self::Debug => "debug",
            Self::Measure => "measure",
        }
    }

    /// What is written after the `=`.
    const fn expected(self) -> &'static str {
        match self {
            Self::Ipv4 => "an address with its prefix length, as 10.0.0.2/24",
            Self::Gateway => "an address, as 10.0.0.1",
            Self::ClientGateway => "an address, as 10.137.0.1",
            Self::Dns => "one to four addresses, as 10.139.1.1,10.139.1.2",
            Self::ClientFlows | Self::ClientPorts | Self::ClientNewFlows => "a number from 1 to 1000000",
            Self::UplinkPings => "answer or ignore",
            Self::Log => "error, warn, info or debug",
            Self::Debug => {
                "panic, page-fault, null, write-text, write-page-table, execute-data or stack-overflow"
            }
            Self::Measure => "copy",
        }
    }
}

/// Something on the command line that is not in effect, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLineError {
    /// Where the wrong word or value starts.
    pub column: Column,
    /// What is wrong with it.
    pub mistake: OptionMistake,
}

/// What can be wrong on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionMistake {
    /// A word that is no option of ours.
    UnknownOption(Excerpt),
    /// An option for the second time. The first stays in effect.
    Repeated(OptionName),
    /// A value that cannot be read.
    Malformed(OptionName, Excerpt),
    /// An address that cannot be used for that option.
    Unusable(OptionName, Ipv4Addr, UnusableAddress),
}

impl core::error::Error for CommandLineError {}

impl OptionMistake {
    /// Which option it is about, if it is one of ours.
    pub const fn option(&self) -> Option<OptionName> {
        match self {
            Self::UnknownOption(_) => None,
            Self::Repeated(name) | Self::Malformed(name, _) | Self::Unusable(name, ..) => Some(*name),
        }
    }
}

impl fmt::Display for CommandLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command line, column {}: {}", self.column, self.mistake)
    }
}

impl fmt::Display for OptionMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionMistake::UnknownOption(found) => {
                write!(f, "unknown option {found}; expected one of")?;
                OptionName::ALL.iter().try_for_each(|name| write!(f, " {}=", name.key()))
            }
            OptionMistake::Repeated(name) => {
                write!(f, "{}= for the second time; expected once, the first is in effect", name.key())
            }
            OptionMistake::Malformed(name, found) => {
                write!(f, "{}={found} cannot be read; expected {}", name.key(), name.expected())
            }
            OptionMistake::Unusable(name, address, why) => {
                write!(f, "{}= cannot be {address}: {why}; expected a host's address", name.key())
            }
        }
    }
}
