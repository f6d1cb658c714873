//! The static rule file: text in, [`RuleTable`] out, and every mistake told with line and column.
//!
//! ```text
//! [default]                       # clients without a section of their own
//! policy=drop                     # when no rule matches; drop if not said
//! action=accept specialtarget=dns
//! [client 10.137.0.0/24]          # an address or a network; the most specific section counts as a whole
//! action=accept
//! [permit]                        # client to client; denied otherwise
//! from=10.137.0.5 to=10.137.0.6 action=accept proto=tcp dstports=22-22
//! [forward]                       # uplink port to a client
//! proto=tcp dstports=8080-8080 to=10.137.0.6:80
//! ```
//!
//! UTF-8; `#` begins a comment; lines end in LF or CRLF. `[default]` and each `[client]` come once, `[permit]` and
//! `[forward]` as often as wanted. Rules are those of [`super::rule_text`].
//!
//! It never fails open. A mistake in a section blocks the clients of that section, and nobody else. A wrong
//! `[permit]` line stands for a refusal at its place: between its `from=` and `to=` when these can be read,
//! otherwise of everything, so that no later line permits what it may have been meant to refuse. A wrong
//! `[forward]` line forwards nothing. What makes it doubtful which clients are meant (a header that cannot be
//! read, lines before the first header, bytes that are not UTF-8, too many rules) blocks everything.

pub mod client_rules;
pub mod feature_lines;
mod forward_line;
mod permit_line;
pub(crate) mod problem;
mod reader;
mod section_draft;

use super::table::RuleTable;
use core::net::Ipv4Addr;
use problem::Problems;
use reader::RuleReader;

pub use reader::MAX_RULES;

/// Reads a rule file. `resolvers` are the addresses that `specialtarget=dns` stands for.
///
/// The table is in effect as it is, whatever the problems: they say what it refuses because of them.
pub fn read(file: &[u8], resolvers: &[Ipv4Addr]) -> (RuleTable, Problems) {
    let mut reader = RuleReader::new(resolvers);
    match core::str::from_utf8(file) {
        Ok(text) => reader.text(text),
        Err(error) => {
            let (before, _) = file.split_at_checked(error.valid_up_to()).unwrap_or((file, &[]));
            reader.not_utf8(before);
        }
    }
    reader.finish()
}

#[cfg(test)]
mod tests;
