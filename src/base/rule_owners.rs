//! Whose rules something is in.

use super::prefix::Ipv4Prefix;

/// For whom rules are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleOwners {
    /// All clients, or all that have none of their own.
    All,
    /// Some clients, as one section of rules has them.
    Clients {
        /// Those of one section.
        first: Ipv4Prefix,
        /// How many sections there are besides.
        more: usize,
    },
}
