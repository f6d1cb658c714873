//! What can go wrong between asking XenStore and having the answer.

use super::Timeout;
use super::path::{MAX_VALUE_BYTES, PathError};
use super::wire::{ProtocolViolation, TooLong};
use crate::base::text::Excerpt;
use core::fmt;

/// Why XenStore did not do or say what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// ENOENT: no such node.
    NoEntry,
    /// EACCES or EPERM: the node belongs to somebody else.
    AccessDenied,
    /// EAGAIN: a transaction met a change by others, and was tried as often as it is worth.
    Conflict,
    /// EINVAL: malformed in xenstored's eyes.
    Invalid,
    /// EEXIST: that watch is there already.
    Exists,
    /// E2BIG: a quota of watches or nodes is used up, or a reply exceeds a payload.
    TooBig,
    /// ENOSPC: the quota of nodes or transactions is used up.
    NoSpace,
    /// EQUOTA or EDQUOT: another quota is used up.
    Quota,
    /// EBUSY: xenstored does something else (live update, domain introduction).
    Busy,
    /// ENOSYS: this xenstored does not know the request.
    Unsupported,
    /// Any other error, in xenstored's words.
    Other(Excerpt),
    /// The path cannot be sent.
    Path(PathError),
    /// The value or the request as a whole is too long to be sent.
    TooLong,
    /// As many requests wait for replies as may.
    TooManyRequests,
    /// The value is not UTF-8.
    NotText,
    /// The value is not a decimal number in range.
    NotANumber(Excerpt),
    /// The value is not an Ethernet address.
    NotAMac(Excerpt),
    /// xenstored did not answer in time.
    Timeout,
    /// xenstored sent nonsense: the connection is not used any more.
    Violation(ProtocolViolation),
}

impl StoreError {
    /// Whether XenStore itself still works: only this one request, or what it is about, is at fault.
    pub fn is_about_the_request(&self) -> bool {
        !matches!(self, Self::Timeout | Self::Violation(_))
    }

    /// Whether the same request may be granted later, with nothing changed that it is about.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Conflict | Self::TooBig | Self::NoSpace | Self::Quota | Self::Busy | Self::Other(_) => true,
            Self::TooManyRequests | Self::Timeout => true,
            Self::NoEntry | Self::AccessDenied | Self::Invalid | Self::Exists | Self::Unsupported => false,
            Self::Path(_)
            | Self::TooLong
            | Self::NotText
            | Self::NotANumber(_)
            | Self::NotAMac(_)
            | Self::Violation(_) => false,
        }
    }

    /// Whether we own as many nodes as we may.
    pub fn is_about_quota(&self) -> bool {
        matches!(self, Self::NoSpace | Self::Quota)
    }

    /// The meaning of an ERROR reply's text, its final NUL removed.
    pub fn from_reply(text: &[u8]) -> Self {
        match text {
            b"ENOENT" => Self::NoEntry,
            b"EACCES" | b"EPERM" => Self::AccessDenied,
            b"EAGAIN" => Self::Conflict,
            b"EINVAL" => Self::Invalid,
            b"EEXIST" => Self::Exists,
            b"E2BIG" => Self::TooBig,
            b"ENOSPC" => Self::NoSpace,
            b"EQUOTA" | b"EDQUOT" => Self::Quota,
            b"EBUSY" => Self::Busy,
            b"ENOSYS" => Self::Unsupported,
            other => Self::Other(Excerpt::of(&alloc::string::String::from_utf8_lossy(other))),
        }
    }
}

impl From<Timeout> for StoreError {
    fn from(_: Timeout) -> Self {
        Self::Timeout
    }
}

impl From<ProtocolViolation> for StoreError {
    fn from(violation: ProtocolViolation) -> Self {
        Self::Violation(violation)
    }
}

impl From<TooLong> for StoreError {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

impl From<PathError> for StoreError {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl core::error::Error for StoreError {}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("XenStore: ")?;
        match self {
            Self::NoEntry => f.write_str("no such node (ENOENT)"),
            Self::AccessDenied => f.write_str("access denied (EACCES)"),
            Self::Conflict => f.write_str("transaction in conflict with others again and again (EAGAIN)"),
            Self::Invalid => f.write_str("invalid request (EINVAL)"),
            Self::Exists => f.write_str("exists already (EEXIST)"),
            Self::TooBig => f.write_str("too big or too many (E2BIG)"),
            Self::NoSpace => f.write_str("no space (ENOSPC)"),
            Self::Quota => f.write_str("quota used up (EQUOTA)"),
            Self::Busy => f.write_str("busy (EBUSY)"),
            Self::Unsupported => f.write_str("unknown to this xenstored (ENOSYS)"),
            Self::Other(text) => write!(f, "error {text}"),
            Self::Path(error) => error.fmt(f),
            Self::TooLong => write!(f, "value too long; expected at most {MAX_VALUE_BYTES} bytes"),
            Self::TooManyRequests => f.write_str("too many requests wait for a reply"),
            Self::NotText => f.write_str("value is not UTF-8"),
            Self::NotANumber(found) => write!(f, "value {found}; expected a decimal number in range"),
            Self::NotAMac(found) => write!(f, "value {found}; expected an Ethernet address"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Violation(violation) => write!(f, "protocol violated: {violation}"),
        }
    }
}
