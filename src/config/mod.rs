//! What the user configures: the kernel command line.

pub mod command_line;
pub mod mistake;
