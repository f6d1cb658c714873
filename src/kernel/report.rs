//! What the firewall reports of itself when it is asked (`xl sysrq`): what passed, and what it holds.

use super::client_exchange::CopiesRun;
use super::event_log;
use super::turn::{Firewall, LoopStats};
use crate::base::bug;
use crate::base::text::counts;
use crate::route::neighbour::waiting::Charged;
use crate::store::StoreRing;
use crate::tables::share::Account;
use crate::vif::frame::Frame;
use crate::xen::charge::ClientCharges;
use crate::xen::page::PAGE_BYTES;
use crate::xen::{Holdings, Xen};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;
use log::Level;

/// Pages that are not free, by what holds them between two turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Rings and buffers of the uplink.
    pub posted: usize,
    /// Packets in the uplink's ring that its backend has not answered, or whose answer was not looked at yet.
    pub sent: usize,
    /// Packets that wait for room in that ring.
    pub to_uplink: usize,
    /// What the backend answered and still uses, of this connection and of earlier ones.
    pub kept: usize,
    /// Packets that wait for a neighbour.
    pub neighbours: usize,
    /// Fragments that wait for the first of their datagram.
    pub fragments: usize,
    /// Packets that wait for clients to post buffers.
    pub to_clients: usize,
    /// Bounce buffers.
    pub bounces: usize,
}

impl Holders {
    /// All of them.
    pub fn total(&self) -> usize {
        let Self { posted, sent, to_uplink, kept, neighbours, fragments, to_clients, bounces } = *self;
        posted + sent + to_uplink + kept + neighbours + fragments + to_clients + bounces
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { posted, sent, to_uplink, kept, neighbours, fragments, to_clients, bounces } = self;
        write!(
            f,
            "{posted} rings and buffers of the uplink, {sent} sent to it, {to_uplink} waiting for it, {kept} kept by \
             its backend, {neighbours} waiting for neighbours, {fragments} fragments, {to_clients} waiting for clients, \
             {bounces} of bounce buffers"
        )
    }
}

impl<X: Xen, R: StoreRing> Firewall<X, R> {
    /// Says on the console what passed and what did not.
    pub fn report(&mut self) {
        let LoopStats { passes, sleeps } = self.stats;
        let CopiesRun { batches, copies } = self.data.exchange.run;
        let hypercalls = self.xen.hypercalls();
        event_log::line(
            Level::Info,
            format_args!(
                "{passes} passes, {sleeps} sleeps, {copies} copies in {batches} batches, {hypercalls} hypercalls"
            ),
        );
        if let Some(netfront) = self.data.egress.vifs.netfront() {
            event_log::line(Level::Info, format_args!("uplink: {:?}", netfront.traffic()));
        }
        for (_, vif) in self.data.egress.vifs.clients.vifs() {
            let id = vif.id();
            if let Some(netback) = vif.netback() {
                event_log::line(Level::Info, format_args!("{id}: {:?}", netback.traffic()));
                let [sent, waiting] = [netback.charges().sent(), netback.charges().waiting()]
                    .map(|charge| (self.xen.pages().charged(charge), self.xen.pages().guaranteed(charge)));
                event_log::line(
                    Level::Info,
                    format_args!(
                        "{id}: pages {} sent ({} guaranteed), {} waiting for it ({} guaranteed)",
                        sent.0, sent.1, waiting.0, waiting.1,
                    ),
                );
            }
            if let Some(limit) = vif.rate_limit() {
                event_log::line(Level::Info, format_args!("{id}: sends at most {limit}"));
            }
        }
        for line in counts("frames dropped:", self.data.egress.drops.occurred()) {
            event_log::line(Level::Info, format_args!("{line}"));
        }
        for line in self.data.engine.counters().lines() {
            event_log::line(Level::Info, format_args!("{line}"));
        }
        for line in self.data.engine.engine().rules().hit_lines() {
            event_log::line(Level::Info, format_args!("{line}"));
        }
        let mappings = self.data.engine.engine().mappings();
        event_log::line(
            Level::Info,
            format_args!(
                "ports: {} in use or in quarantine, {} taken out of it before its end",
                mappings.len(),
                mappings.reused_early()
            ),
        );
    }

    /// Says on the console what is held of other domains and lent to them, which is the same before and after any
    /// number of connections; and what holds the pages that are not free, which changes with every packet.
    pub(super) fn report_balance(&mut self) {
        let Holdings { grants, mappings, ports } = self.xen.holdings();
        let (watches, clients) = (self.control.store.watches(), self.data.egress.vifs.clients.vifs().count());
        let held = self.control.held.len();
        if bug::count() > 0 {
            event_log::line(
                Level::Error,
                format_args!("bugs: {} since boot; the first one is on the console", bug::count()),
            );
        }
        event_log::line(Level::Info, format_args!("pages: {}", self.holders()));
        let pages = self.xen.pages();
        event_log::line(
            Level::Info,
            format_args!(
                "balance: {grants} grants, {mappings} mappings, {ports} event channels, {watches} watches, \
             {} of {} pages free, {held} pages held back, {clients} clients",
                pages.free(),
                pages.total(),
            ),
        );
    }

    /// The accounts of the clients that are connected.
    pub fn charges(&mut self) -> Vec<ClientCharges> {
        self.data.egress.vifs.clients.rings().map(|(_, netback)| netback.charges()).collect()
    }

    /// The addresses of the clients that are attached, each with the account that pays for what the client sends. For
    /// the simulation.
    pub fn accounts(&mut self) -> Vec<(Ipv4Addr, Account)> {
        let vifs = self.data.egress.vifs.clients.vifs();
        let all = vifs.filter_map(|(_, vif)| Some((vif.identity().address()?, vif.account())));
        all.filter(|(_, account)| *account != Account::UPLINK).collect()
    }

    /// The oldest frame of each account that waits for the uplink, to look at.
    pub fn waiting_for_uplink(&mut self) -> impl Iterator<Item = &Frame> {
        let netfront = self.data.egress.vifs.netfront();
        netfront.into_iter().flat_map(|netfront| netfront.oldest())
    }

    /// What holds the pages that are not free. Every page is counted where it is, not from the accounts.
    pub fn holders(&mut self) -> Holders {
        let mut holders = Holders { kept: self.control.held.len(), ..Holders::default() };
        // Given up when the uplink was connected anew: their senders are told in the next pass.
        holders.neighbours = self.data.egress.undeliverable.iter().map(Charged::pages).sum();
        if let Some(netfront) = self.data.egress.vifs.netfront() {
            holders.to_uplink = netfront.waiting();
            (holders.posted, holders.sent) = netfront.lent();
            holders.kept += netfront.kept();
        }
        for account in Account::all() {
            holders.neighbours += self.data.egress.neighbours.holdings(account).pages as usize;
            holders.fragments += self.data.engine.fragments().waiting_bytes(account) / PAGE_BYTES;
        }
        holders.bounces = self.data.exchange.bounces().pages();
        holders.to_clients =
            self.data.egress.vifs.clients.rings().map(|(_, netback)| netback.waiting()).sum();
        holders
    }
}
