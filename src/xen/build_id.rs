//! The GNU build id: what the linker calls an image by, a hash of all that is in it.
//!
//! Two images with the same build id are the same; `readelf --notes` shows that of a file.

use crate::base::bug::OrBug;
use core::fmt;

/// Bytes of a SHA-1, which `.cargo/config.toml` asks the linker for.
const HASH_BYTES: usize = 20;

/// What stands before it in its note: the lengths of name and hash, the type `NT_GNU_BUILD_ID`, and the name "GNU".
const HEADER: [u8; 16] = *b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";

/// Digits that are shown: enough to tell images apart.
const SHOWN_BYTES: usize = 4;

/// A build id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildId([u8; HASH_BYTES]);

impl BuildId {
    /// Takes it out of the note that the linker wrote; `None` is a mistake in `linker.ld`.
    pub fn from_note(note: &[u8]) -> Option<Self> {
        let hash = note.strip_prefix(&HEADER).and_then(|hash| hash.first_chunk());
        hash.copied().map(Self).or_bug("an image without a build id")
    }
}

/// Its first eight digits.
impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(SHOWN_BYTES).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_first_digits_of_the_hash_are_shown() {
        let mut note = HEADER.to_vec();
        note.extend(0x0a..0x0a + 20);
        assert_eq!(BuildId::from_note(&note).map(|id| id.to_string()).as_deref(), Some("0a0b0c0d"));
    }

    #[test]
    #[should_panic(expected = "an image without a build id")]
    fn another_note_is_none() {
        BuildId::from_note(b"\x04\0\0\0\x04\0\0\0\x01\0\0\0Xen\0\0\0\0\0");
    }
}
