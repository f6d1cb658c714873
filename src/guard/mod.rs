//! Judging: may this packet be what it says, and may it pass?

pub mod antispoof;
