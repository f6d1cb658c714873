//! A question that is being asked.

use super::known_name::NameSource;
use crate::base::host_name::HostName;
use crate::base::time::Moment;
use core::net::Ipv4Addr;

/// A question for a name.
#[derive(Debug)]
pub(super) struct Question {
    /// The name that a rule has.
    pub(super) host: HostName,
    pub(super) source: NameSource,
    /// The name that is asked for: what the other one is an alias of, if it is.
    pub(super) asked: HostName,
    /// Aliases that led there.
    pub(super) aliases: u8,
    /// Seconds for which all of these are said.
    pub(super) ttl: u32,
    /// How often it was asked.
    pub(super) attempts: u8,
    /// How it was asked last.
    pub(super) sent: Option<Sent>,
}

/// How a question was asked: an answer comes from there and to that port, and has that number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) server: Ipv4Addr,
    pub(super) port: u16,
    pub(super) id: u16,
    /// It is waited for until then.
    pub(super) until: Moment,
    /// Messages that came from there and to that port and were no answer.
    pub(super) wrong: u8,
}

impl Question {
    pub(super) const fn new(host: HostName, asked: HostName, source: NameSource) -> Self {
        Self { host, source, asked, aliases: 0, ttl: u32::MAX, attempts: 0, sent: None }
    }
}
