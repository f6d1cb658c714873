//! The firewall as a host: it asks name servers what the names in rules stand for.
//!
//! Sans-IO: a [`resolver`] is told the time, the servers, the names and what arrives, and says what is to be sent. What
//! servers say is a peer's word: [`message`] reads it, and takes an answer only for what was asked. What is known of one
//! name is in [`known_name`].
#![forbid(unsafe_code)]

mod known_name;
mod message;
mod question;
pub(crate) mod resolver;
