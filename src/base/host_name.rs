//! The name of a host, as rules say it and the resolver asks for it.

use alloc::rc::Rc;
use alloc::string::String;
use core::fmt;

/// Characters of a name at most: with the lengths of its labels it takes two bytes more in a message (RFC 1035, 2.3.4).
const MAX_BYTES: usize = 253;

/// Characters between two dots at most (RFC 1035, 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// A name that can be asked for: labels of a-z, 0-9, - and _ with dots between, 253 characters at most. Names that
/// differ only in case are the same. Copies share their text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(Rc<str>);

impl HostName {
    /// The name that `text` is; a dot at its end is not part of it. `None` of what cannot be a name.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > MAX_BYTES || !text.split('.').all(|label| is_label(label.as_bytes())) {
            return None;
        }
        let mut name = String::from(text);
        name.make_ascii_lowercase();
        Some(Self(name.into()))
    }

    /// The name of these labels, as a message has them. What a message says is a peer's: `None` of what cannot be a name.
    pub fn from_labels<'l>(labels: impl Iterator<Item = &'l [u8]>) -> Option<Self> {
        let mut name = String::new();
        for label in labels {
            if !is_label(label) || name.len() + label.len() > MAX_BYTES {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        }
        Self::parse(&name)
    }

    /// Its text, in lower case.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is between its dots.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split('.').map(str::as_bytes)
    }
}

fn is_label(label: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.iter().all(allowed)
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_name_is_kept_in_lower_case_and_without_its_last_dot() {
        let name = HostName::parse("WWW.Example.ORG.").unwrap();
        assert_eq!(name.text(), "www.example.org");
        assert_eq!(name.labels().collect::<Vec<_>>(), [&b"www"[..], b"example", b"org"]);
        assert_eq!(HostName::from_labels(name.labels()), Some(name));
    }

    #[test]
    fn what_cannot_be_asked_for_is_no_name() {
        let long_label = "a".repeat(64);
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
        for wrong in ["", ".", "..", "a..b", ".a", "a b", "ä.org", "a/b", "a\0b", &long_label, &long] {
            assert_eq!(HostName::parse(wrong), None, "{wrong}");
        }
        assert!(HostName::parse(&long[1..]).is_some());
        let labels = [&b"a.b"[..], &[0xff], b""];
        assert!(labels.iter().all(|label| HostName::from_labels([*label].into_iter()).is_none()));
        assert_eq!(HostName::from_labels([b"x"; 200].iter().map(|label| &label[..])), None);
        assert_eq!(HostName::from_labels(core::iter::empty()), None);
    }
}
