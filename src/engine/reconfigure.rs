//! What can change while packets pass, besides rules and clients: our addresses, what clients may take, pings.

use super::Engine;
use super::datapath::Datapath;
use super::seed::Seed;
use super::settings::{Quotas, UplinkPings};
use super::spared::Excess;
use crate::wire::packet::Packet;
use core::net::Ipv4Addr;

impl<D: Packet> Engine<D> {
    /// Replaces our address on the uplink: translated flows end, and datagrams that are arriving in pieces.
    pub fn set_uplink_address(&mut self, address: Ipv4Addr) {
        if address != self.datapath.settings.uplink {
            self.datapath.set_uplink_address(address);
            self.fragments.cancel(|_, _| true);
        }
    }

    /// Replaces the prefix length of the uplink's network, 32 if it is not known: holds for new flows.
    pub fn set_uplink_prefix_bits(&mut self, bits: u8) {
        self.datapath.settings.uplink_prefix_bits = bits;
    }

    /// Replaces the address that clients know us by.
    pub fn set_client_gateway(&mut self, address: Ipv4Addr) {
        self.datapath.settings.client_gateway = address;
    }

    /// Replaces what clients may take. Whoever has more keeps it and gets no more: what is new takes the place of its two
    /// oldest, until it has what it may. The second of these is spared for a while if it is in use.
    pub fn set_quotas(&mut self, quotas: Quotas) {
        self.datapath.set_quotas(quotas);
    }

    /// Makes the choice of ports depend on random bytes, too. Mappings stay.
    pub fn mix_seed(&mut self, seed: Seed) {
        self.datapath.mappings.mix_seed(seed.0);
    }

    /// Says whether our address on the uplink answers pings.
    pub fn set_uplink_pings(&mut self, pings: UplinkPings) {
        self.datapath.settings.uplink_pings = pings;
    }
}

impl Datapath {
    /// Replaces our address on the uplink: translated flows are over.
    fn set_uplink_address(&mut self, address: Ipv4Addr) {
        self.settings.uplink = address;
        self.judge_all_again();
        self.readdressed = self.generation;
    }

    fn set_quotas(&mut self, quotas: Quotas) {
        self.spared.excess = Excess::Possible;
        self.places.set_caps(quotas.flows_per_client);
        self.mappings.set_ports_per_client(quotas.ports_per_client);
        self.clients.set_rates(&quotas);
        self.uplink_errors.set_rate(quotas.errors);
        self.uplink_pings_left.set_rate(quotas.uplink_pings);
        self.settings.quotas = quotas;
    }
}
