//! What of the live rules is otherwise from now on: made ready off the path of packets, taken up as a whole.

use super::client_section::ClientSection;
use super::compiled::CompiledRule;
use super::forward::PortForwards;
use super::permit::Permit;
use super::rule_texts::RuleTexts;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The new rules of a client.
#[derive(Debug)]
pub enum ClientUpdate {
    /// These.
    Set(Box<ClientSection>),
    /// It has none any more: nothing is known of it.
    Gone(Ipv4Addr),
}

impl ClientUpdate {
    /// Whose they are.
    pub const fn client(&self) -> Ipv4Addr {
        match self {
            Self::Set(section) => section.client,
            Self::Gone(client) => *client,
        }
    }
}

/// The lines of one kind that a person wrote in QubesDB.
#[derive(Debug)]
pub enum LinesUpdate {
    /// What is asked before the rules of each client.
    Base(Vec<CompiledRule>),
    /// What is permitted between clients, before what the rule file permits.
    Permits(Vec<Permit>),
    /// Ports that lead to clients, before those of the rule file.
    Forwards(PortForwards),
}

/// Something of the live rules is otherwise.
#[derive(Debug)]
pub enum RuleUpdate {
    /// The rules of these clients, each once.
    Clients(Vec<ClientUpdate>),
    /// All lines of one kind, and what they say.
    Lines(LinesUpdate, RuleTexts),
}
