//! What may be sent to xenstored as a path or a value.
//!
//! Limits are the smaller ones of the two daemons (C xenstored, oxenstored). A request beyond them is refused
//! here, before it costs a round trip or the connection.

use core::fmt;

/// Bytes of an absolute path (`path-max` of oxenstored; C xenstored allows 3072).
pub const MAX_PATH_BYTES: usize = 1024;

/// Bytes of a relative path: room is left for the `/local/domain/65535/` that xenstored puts before it.
pub const MAX_RELATIVE_PATH_BYTES: usize = MAX_PATH_BYTES - 20;

/// Bytes of a value (the node size limit of both daemons).
pub const MAX_VALUE_BYTES: usize = 2048;

/// Why a path is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// Nothing.
    Empty,
    /// More than [`MAX_PATH_BYTES`] or [`MAX_RELATIVE_PATH_BYTES`].
    TooLong,
    /// A character other than ASCII letters, digits and `-/_@`.
    Character(char),
    /// Two slashes in a row, or one at the end.
    EmptyName,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty path"),
            Self::TooLong => write!(f, "path longer than {MAX_PATH_BYTES} bytes"),
            Self::Character(found) => {
                write!(f, "path with {found:?}; expected letters, digits and -/_@ only")
            }
            Self::EmptyName => f.write_str("path with an empty name (// or / at the end)"),
        }
    }
}

/// Checks a path by xenstored's own rules. `@introduceDomain` and `@releaseDomain` pass too.
pub fn check(path: &str) -> Result<(), PathError> {
    let limit = if path.starts_with(['/', '@']) { MAX_PATH_BYTES } else { MAX_RELATIVE_PATH_BYTES };
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > limit {
        return Err(PathError::TooLong);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '_' | '@');
    if let Some(found) = path.chars().find(|&c| !allowed(c)) {
        return Err(PathError::Character(found));
    }
    if path.contains("//") || (path.len() > 1 && path.ends_with('/')) {
        return Err(PathError::EmptyName);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_devices_and_the_special_watches_pass() {
        for path in ["/", "device/vif/0/state", "/local/domain/3/backend", "@releaseDomain", "a_b-C"] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn what_xenstored_would_refuse_is_refused() {
        for (path, error) in [
            ("", PathError::Empty),
            ("a//b", PathError::EmptyName),
            ("/a/", PathError::EmptyName),
            ("a b", PathError::Character(' ')),
            ("a\0b", PathError::Character('\0')),
            ("é", PathError::Character('é')),
        ] {
            assert_eq!(check(path), Err(error), "{path}");
        }
    }

    #[test]
    fn the_limit_counts_what_xenstored_prepends() {
        assert_eq!(check(&"a".repeat(1004)), Ok(()));
        assert_eq!(check(&"a".repeat(1005)), Err(PathError::TooLong));
        let absolute = |bytes| alloc::format!("/{}", "a".repeat(bytes));
        assert_eq!(check(&absolute(1023)), Ok(()));
        assert_eq!(check(&absolute(1024)), Err(PathError::TooLong));
    }
}
