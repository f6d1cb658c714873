//! ICMP messages (RFC 792), as far as a firewall tells them apart.

use super::bytes::u16_at;

/// Bytes of the header that all forwarded messages have.
pub const HEADER_BYTES: usize = 8;

/// Byte offsets of header fields.
pub mod at {
    /// Type.
    pub const KIND: usize = 0;
    /// Code.
    pub const CODE: usize = 1;
    /// Checksum.
    pub const CHECKSUM: usize = 2;
    /// Identifier of a query.
    pub const IDENT: usize = 4;
}

/// Message types.
pub mod kind {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Timestamp.
    pub const TIMESTAMP: u8 = 13;
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;
}

/// What is wrong with an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpFault {
    /// The header is not all there.
    Short,
    /// A type that this firewall does not pass (conformance I-12).
    Kind,
}

/// What a query asks for. Those of address masks and information are obsolete (RFC 6918) and not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Its own data: a ping.
    Echo,
    /// The time of day.
    Timestamp,
}

impl Query {
    /// The type of the message that asks.
    pub const fn kind(self) -> u8 {
        match self {
            Query::Echo => kind::ECHO_REQUEST,
            Query::Timestamp => kind::TIMESTAMP,
        }
    }
}

/// An ICMP message that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    /// A query (RFC 5508 section 3).
    Request {
        /// What it asks for.
        query: Query,
        /// Its identifier.
        ident: u16,
    },
    /// Its answer.
    Reply {
        /// What was asked for.
        query: Query,
        /// The identifier of the request.
        ident: u16,
    },
    /// An error about a packet, of which it quotes the start after its own 8-byte header.
    Error,
}

impl Icmp {
    /// Reads the message at the start of `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Icmp, IcmpFault> {
        let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(IcmpFault::Short)?;
        let ident = u16_at(head, at::IDENT).ok_or(IcmpFault::Short)?;
        match head[at::KIND] {
            kind::ECHO_REQUEST => Ok(Icmp::Request { query: Query::Echo, ident }),
            kind::ECHO_REPLY => Ok(Icmp::Reply { query: Query::Echo, ident }),
            kind::TIMESTAMP => Ok(Icmp::Request { query: Query::Timestamp, ident }),
            kind::TIMESTAMP_REPLY => Ok(Icmp::Reply { query: Query::Timestamp, ident }),
            kind::UNREACHABLE | kind::TIME_EXCEEDED | kind::PARAMETER_PROBLEM => Ok(Icmp::Error),
            _ => Err(IcmpFault::Kind),
        }
    }
}

/// Whether a message of this type is about another packet, so that no error may be sent about it
/// (RFC 1122 section 3.2.2). Types nobody assigned count as errors, to be on the safe side.
pub const fn is_error(message: u8) -> bool {
    !matches!(message, 0 | 8 | 9 | 10 | 13..=18)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_errors_are_told_apart_and_the_rest_refused() {
        for message in 0..=255u8 {
            let read = Icmp::read(&[message, 0, 0, 0, 0x12, 0x34, 0, 0]);
            let expected = match message {
                0 => Ok(Icmp::Reply { query: Query::Echo, ident: 0x1234 }),
                8 => Ok(Icmp::Request { query: Query::Echo, ident: 0x1234 }),
                13 => Ok(Icmp::Request { query: Query::Timestamp, ident: 0x1234 }),
                14 => Ok(Icmp::Reply { query: Query::Timestamp, ident: 0x1234 }),
                3 | 11 | 12 => Ok(Icmp::Error),
                _ => Err(IcmpFault::Kind),
            };
            assert_eq!(read, expected);
        }
        assert_eq!(Icmp::read(&[8, 0, 0, 0, 0, 0, 0]), Err(IcmpFault::Short));
    }
}
