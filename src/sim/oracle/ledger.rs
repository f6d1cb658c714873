//! What peers counted: requests, answers, bytes, packets; and their complaints.

use crate::xen::DomainId;
use crate::xen::grant::Access;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// A kind of request that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientService {
    /// ICMP echo.
    Ping,
    /// A datagram that is echoed.
    Datagram,
    /// A TCP transfer.
    Transfer,
    /// A name that is looked up.
    Lookup,
    /// A web page.
    Page,
}

/// What became of one client's requests for one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceOutcome {
    /// Made.
    pub asked: u64,
    /// Answered in full.
    pub answered: u64,
    /// Given up.
    pub failed: u64,
}

/// What was counted, and what was complained of.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The uplink's backend keeps to the protocol: what comes from there can be relied on.
    pub uplink_is_honest: bool,
    /// It is slower than the clients: they wait for it.
    pub uplink_is_narrow: bool,
    /// It takes nothing at present.
    pub uplink_is_full: bool,
    /// dom0's QubesDB daemon went before the kernel had ever connected to one: until there is another, clients have no rules.
    pub rules_were_late: bool,
    outcomes: BTreeMap<(DomainId, ClientService), ServiceOutcome>,
    bytes: BTreeMap<DomainId, u64>,
    complaints: Vec<(&'static str, String)>,
    /// Packets that crossed any ring.
    pub packets: u64,
    /// Requests of the kernel to xenstored.
    pub store_requests: u64,
    /// Those of them that were refused for a reason that passes.
    pub store_refusals: u64,
    /// Lines that the console's reader has read.
    pub console_lines: u64,
    /// The slowest transfer.
    pub slowest: Duration,
    /// The kernel's grants that are in force.
    pub grants: BTreeMap<u32, Access>,
}

impl Ledger {
    fn outcome(&mut self, client: DomainId, service: ClientService) -> &mut ServiceOutcome {
        self.outcomes.entry((client, service)).or_default()
    }

    /// A client makes a request.
    pub fn asked(&mut self, client: DomainId, service: ClientService) {
        self.outcome(client, service).asked += 1;
    }

    /// A request was answered.
    pub fn answered(&mut self, client: DomainId, service: ClientService) {
        self.outcome(client, service).answered += 1;
    }

    /// A request was given up.
    pub fn failed(&mut self, client: DomainId, service: ClientService) {
        self.outcome(client, service).failed += 1;
    }

    /// Bytes of content carried.
    pub fn carried(&mut self, client: DomainId, bytes: usize) {
        *self.bytes.entry(client).or_default() += bytes as u64;
    }

    /// A transfer took so long.
    pub fn took(&mut self, span: Duration) {
        self.slowest = self.slowest.max(span);
    }

    /// Something is wrong.
    pub fn complain(&mut self, oracle: &'static str, what: String) {
        if self.uplink_is_honest {
            self.complaints.push((oracle, what));
        }
    }

    /// What was complained of since the last call.
    pub fn take_complaints(&mut self) -> Vec<(&'static str, String)> {
        core::mem::take(&mut self.complaints)
    }

    /// The kernel granted a page.
    pub fn granted(&mut self, reference: u32, access: Access) {
        self.grants.insert(reference, access);
    }

    /// All outcomes.
    pub fn outcomes(&self) -> impl Iterator<Item = (DomainId, ClientService, ServiceOutcome)> {
        self.outcomes.iter().map(|(&(client, service), &outcome)| (client, service, outcome))
    }

    /// Outcome of one service for one client.
    pub fn of(&self, client: DomainId, service: ClientService) -> ServiceOutcome {
        self.outcomes.get(&(client, service)).copied().unwrap_or_default()
    }

    /// Bytes of content carried for one client.
    pub fn content_of(&self, client: DomainId) -> u64 {
        self.bytes.get(&client).copied().unwrap_or(0)
    }

    /// Bytes of content carried for all clients.
    pub fn content_bytes(&self) -> u64 {
        self.bytes.values().sum()
    }
}
