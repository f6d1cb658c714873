//! Reading text that people write: words, the column each starts at, and excerpts for messages about it.
//!
//! The kernel command line and the rule file share it, so both report a mistake in the same way.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// How many characters of a wrong word a message repeats.
const EXCERPT_CHARACTERS: usize = 40;

/// A place in a line: characters (not bytes), the first is column 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column(pub usize);

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A piece of a line without whitespace, and where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'t> {
    /// The characters.
    pub text: &'t str,
    /// Where the first of them is.
    pub column: Column,
}

impl<'t> Word<'t> {
    /// The two sides of the first `=`, each with its own column; `None` without one.
    #[inline(never)]
    pub fn split_key(self) -> Option<(Word<'t>, Word<'t>)> {
        let (key, value) = self.text.split_once('=')?;
        let after = Column(self.column.0 + characters(key) + 1);
        Some((Word { text: key, column: self.column }, Word { text: value, column: after }))
    }
}

/// How many characters a text has, not bytes: for columns.
#[inline(never)]
fn characters(text: &str) -> usize {
    text.chars().count()
}

/// The words of a line, in order; see [`words`]. Each is found once, when it is asked for.
#[derive(Clone, Debug)]
pub struct Words<'t> {
    /// The next word, if it was looked at.
    peeked: Option<Word<'t>>,
    /// What comes after it.
    rest: &'t str,
    /// The column at which `rest` starts.
    next: usize,
}

/// Splits a line at ASCII whitespace.
pub fn words(line: &str) -> Words<'_> {
    Words { peeked: None, rest: line, next: 1 }
}

impl<'t> Words<'t> {
    /// The next word, which stays the next.
    pub fn peek(&mut self) -> Option<Word<'t>> {
        self.peeked = self.peeked.or_else(|| self.find());
        self.peeked
    }

    /// Where the next word starts, or else where the line ends.
    pub fn column(&mut self) -> Column {
        self.peek().map_or_else(|| self.end(), |word| word.column)
    }

    /// Where the line ends: one past its last character, for messages about what is missing.
    pub fn end(&self) -> Column {
        Column(self.next + characters(self.rest.trim_ascii_end()))
    }

    fn find(&mut self) -> Option<Word<'t>> {
        let trimmed = self.rest.trim_ascii_start();
        // Whitespace skipped is ASCII: one byte is one character.
        let start = self.next + (self.rest.len() - trimmed.len());
        if trimmed.is_empty() {
            return None;
        }
        let end = trimmed.find(|c: char| c.is_ascii_whitespace()).unwrap_or(trimmed.len());
        let (text, rest) = trimmed.split_at_checked(end)?;
        self.rest = rest;
        self.next = start + characters(text);
        Some(Word { text, column: Column(start) })
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = Word<'t>;

    fn next(&mut self) -> Option<Word<'t>> {
        self.peeked.take().or_else(|| self.find())
    }
}

/// A number of ASCII digits only: no sign, no blank, nothing above what `T` holds.
#[inline(never)]
pub fn decimal<T: FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The start of a wrong word, safe to print: at most 40 characters, control characters escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    /// Copies the start of `text`.
    pub fn of(text: &str) -> Self {
        let mut copy: String = text.chars().take(EXCERPT_CHARACTERS).collect();
        if copy.len() < text.len() {
            copy.push('…');
        }
        Self(copy)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_debug())
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of a line of counts at most, unless a single one takes more: with its stamp it fits the console's.
const LINE_BYTES: usize = 400;

/// Lines that tell what was counted, each beginning with `group`; as many as it takes.
pub fn counts<'a>(group: &str, counts: impl Iterator<Item = (&'a str, u64)>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for (name, count) in counts {
        let word = format!("{count} {name}");
        if line.len() + word.len() > LINE_BYTES {
            lines.push(core::mem::take(&mut line));
        }
        line.push_str(if line.is_empty() { group } else { "," });
        line.push(' ');
        line.push_str(&word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    #[test]
    fn words_know_their_column() {
        let found: Vec<_> = words("  ipv4=1  é\tlog=x ").map(|word| (word.text, word.column.0)).collect();
        assert_eq!(found, [("ipv4=1", 3), ("é", 11), ("log=x", 13)]);
        assert_eq!(words("ab c  ").end(), Column(5));
        assert_eq!(words("  ").next(), None);
    }

    #[test]
    fn a_word_that_was_looked_at_comes_next() {
        let mut rest = words(" a  é=1 ");
        assert_eq!((rest.column(), rest.end()), (Column(2), Column(8)));
        assert_eq!(rest.peek(), rest.clone().next());
        assert_eq!(rest.next().map(|word| word.text), Some("a"));
        assert_eq!(rest.column(), Column(5));
        assert_eq!(rest.next().map(|word| word.text), Some("é=1"));
        assert_eq!((rest.peek(), rest.column(), rest.end()), (None, Column(8), Column(8)));
        assert_eq!(rest.next(), None);
    }

    #[test]
    fn a_value_knows_its_own_column() {
        let word = words(" dns=1=2").next().unwrap();
        let (key, value) = word.split_key().unwrap();
        assert_eq!((key.text, key.column.0, value.text, value.column.0), ("dns", 2, "1=2", 6));
        assert_eq!(words("dns").next().unwrap().split_key(), None);
    }

    #[test]
    fn decimals_have_no_sign_and_fit() {
        assert_eq!(decimal::<u8>("255"), Some(255));
        for wrong in ["", "+1", "-1", "256", " 1", "1a", "٣"] {
            assert_eq!(decimal::<u8>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn excerpts_are_short_and_harmless() {
        assert_eq!(Excerpt::of("a\u{1b}[2J\"").to_string(), r#""a\u{1b}[2J\"""#);
        assert_eq!(Excerpt::of(&"x".repeat(500)).to_string().chars().count(), 43);
    }
}
