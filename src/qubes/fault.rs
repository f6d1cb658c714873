//! What can be wrong with what the daemon sends: with a message, with a value, with the rules of a source.

use core::fmt;

/// A message that no daemon sends: the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolFault {
    /// Of a type that does not exist, or that is not for us.
    Type(u8),
    /// With more bytes of value than a message may have.
    Length(u32),
    /// About a path that has no end or a character that no path has.
    Path,
    /// A further entry of a dump that is complete.
    EntryAfterDump,
}

/// Why a value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueFault {
    /// It is not UTF-8, or has control characters.
    NotText,
    /// It was given up because there was no room for it.
    NoRoom,
}

/// Why the rules of a source cannot be used: whoever judges packets blocks the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFault {
    /// There is no `policy`, or nothing at all.
    NoPolicy,
    /// A rule is not text.
    NotText,
    /// They take more memory than there is for them.
    TooLarge,
}

impl fmt::Display for ProtocolFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(kind) => write!(f, "a message of type {kind}"),
            Self::Length(bytes) => write!(f, "a value of {bytes} bytes"),
            Self::Path => f.write_str("a path that cannot be"),
            Self::EntryAfterDump => f.write_str("an entry after the end of the dump"),
        }
    }
}

impl fmt::Display for ValueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotText => "it is not text",
            Self::NoRoom => "there is no room for it",
        })
    }
}

impl fmt::Display for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPolicy => "there is no policy",
            Self::NotText => "a rule is not text",
            Self::TooLarge => "there is no room for so many rules",
        })
    }
}
