//! Lines with their keys, as QubesDB has them, in one piece of memory: what is kept of rules to be compared and compiled again.

use alloc::boxed::Box;
use alloc::string::String;

/// Lines in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyedLines(Box<str>);

/// A key or a line that is not one: it has a control character in it, or a key has a blank. Or keys are out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotALine;

impl KeyedLines {
    /// Copies lines with their keys, which must come in order, none twice.
    ///
    /// # Errors
    /// That one of them is no line.
    pub fn of<'t>(lines: &mut dyn Iterator<Item = (&'t str, &'t str)>) -> Result<Self, NotALine> {
        let (mut text, mut last) = (String::new(), None);
        for (key, line) in lines {
            let is_next = last.replace(key).is_none_or(|last| last < key);
            let is_key = key.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_next || !is_key || line.bytes().any(|byte| byte.is_ascii_control()) {
                return Err(NotALine);
            }
            for part in [key, " ", line, "\n"] {
                text.push_str(part);
            }
        }
        Ok(Self(text.into()))
    }

    /// The lines with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split_terminator('\n').filter_map(|line| line.split_once(' '))
    }

    /// Bytes that it takes.
    pub const fn bytes(&self) -> usize {
        self.0.len()
    }

    /// How many lines there are.
    pub fn count(&self) -> usize {
        self.0.bytes().filter(|byte| *byte == b'\n').count()
    }

    /// Whether one of the lines has `words` in it.
    pub fn mention(&self, words: &str) -> bool {
        self.0.contains(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn lines_are_kept_as_they_are_with_their_keys() {
        let lines = [("0001", "action=accept"), ("0007", ""), ("policy", " a  b ")];
        let kept = KeyedLines::of(&mut lines.into_iter()).unwrap();
        assert_eq!(kept.iter().collect::<Vec<_>>(), lines);
        assert_eq!(KeyedLines::of(&mut [].into_iter()).unwrap().iter().next(), None);
    }

    #[test]
    fn no_line_can_be_taken_for_two() {
        for line in [("1", "a\n2 b"), ("1\n2", "a"), ("1 2", "a"), ("1", "a\r"), ("é", "a")] {
            assert_eq!(KeyedLines::of(&mut [line].into_iter()), Err(NotALine), "{line:?}");
        }
    }

    #[test]
    fn keys_come_in_order_and_once() {
        for keys in [["2", "1"], ["1", "1"]] {
            assert_eq!(KeyedLines::of(&mut keys.map(|key| (key, "a")).into_iter()), Err(NotALine));
        }
    }
}
