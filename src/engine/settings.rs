//! What the engine is told at the start: its addresses, its limits, and how much memory it may take. Some of it can be
//! changed later (`reconfigure.rs`).

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use crate::flow::fragments::FragmentLimits;
use crate::flow::table::FlowTable;
use crate::flow::timeouts::Timeouts;
use crate::nat::mapping_table::Mappings;
use crate::route::destination::Network;
use crate::tables::allowance::Rate;

/// The most mappings that can be used: every port and identifier of every pool.
const ALL_PORTS: u32 = 2 * (424 + 64_512) + 65_536;

/// The most flows there can be, whatever the memory.
const MOST_FLOWS: u32 = 1 << 20;

/// What clients may take. Half of everything is guaranteed to the attached clients in equal parts; these are
/// the limits for what one may take of the other half too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Flows of one client.
    pub flows_per_client: u32,
    /// Outer ports of one client, per protocol and class, those in quarantine included.
    pub ports_per_client: u32,
    /// New flows of one client, where they make a table fuller that is half full already.
    pub new_flows: Rate,
    /// ICMP errors sent to one client, and to the uplink.
    pub errors: Rate,
    /// RSTs sent to one client for unknown connections.
    pub resets: Rate,
    /// Packets that answer pings from the uplink.
    pub uplink_pings: Rate,
}

/// Whether pings of our address on the uplink are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UplinkPings {
    /// They are.
    #[default]
    Answered,
    /// They are dropped without an answer.
    Ignored,
}

/// The engine's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our address on the uplink: what every client is translated to.
    pub uplink: Ipv4Addr,
    /// Prefix length of the uplink's network, for its broadcast address; 32 if not known.
    pub uplink_prefix_bits: u8,
    /// The address that clients see as their gateway: it answers pings and is the source of errors to them.
    pub client_gateway: Ipv4Addr,
    /// Bytes of the largest IP packet the uplink takes, until [`set_mtu`](super::Engine::set_mtu) says otherwise.
    pub uplink_mtu: u16,
    /// Bytes of the largest IP packet a client takes of which nothing else is said.
    pub client_mtu: u16,
    /// Flows there is room for.
    pub flows: u32,
    /// Mappings there is room for.
    pub mappings: u32,
    /// TCP and UDP ports on the uplink address that are kept for the firewall's own traffic.
    pub own_ports: RangeInclusive<u16>,
    /// Whether our address on the uplink answers pings.
    pub uplink_pings: UplinkPings,
    /// How long flows survive silence.
    pub timeouts: Timeouts,
    /// What clients may take.
    pub quotas: Quotas,
    /// How many fragments may wait.
    pub fragments: FragmentLimits,
}

impl Settings {
    /// Settings for a domain with `memory_bytes` of memory and the address `uplink`, the defaults elsewhere.
    ///
    /// The flow table gets a power of two of flows: 32,768 in 16 MiB, 262,144 in 64 MiB, at most 1,048,576.
    pub fn for_memory(memory_bytes: u64, uplink: Ipv4Addr) -> Settings {
        let mebibytes = u32::try_from(memory_bytes >> 20).unwrap_or(u32::MAX).max(4);
        let per_mebibyte = if mebibytes >= 64 { 4096 } else { 2048 };
        let wanted = mebibytes.saturating_mul(per_mebibyte).min(MOST_FLOWS);
        let flows = 1 << wanted.ilog2();
        let packets = (mebibytes * 16).min(4096) as u16;
        // Pages are held whole, and a datagram of the largest kind may come in fragments of a page each, in any order.
        let fragment_bytes = ((mebibytes as usize) << 14).clamp(256 << 10, 4 << 20);
        Settings {
            uplink,
            uplink_prefix_bits: 32,
            client_gateway: uplink,
            uplink_mtu: 1500,
            client_mtu: 1500,
            flows,
            mappings: flows.min(ALL_PORTS),
            own_ports: 1024..=1151,
            uplink_pings: UplinkPings::default(),
            timeouts: Timeouts::default(),
            quotas: Quotas {
                flows_per_client: flows - flows / 4,
                ports_per_client: 48_384,
                new_flows: Rate { per_second: 2_000, burst: 8_192 },
                errors: Rate { per_second: 100, burst: 50 },
                resets: Rate { per_second: 100, burst: 50 },
                uplink_pings: Rate { per_second: 100, burst: 50 },
            },
            fragments: FragmentLimits {
                datagrams: 256,
                datagrams_per_client: 16,
                packets,
                packets_per_client: (packets / 2).min(256),
                bytes_per_client: fragment_bytes,
                bytes_from_uplink: fragment_bytes,
            },
        }
    }

    /// Bytes that are left to QubesDB, of `memory_bytes` of a domain that has one.
    pub const fn qubesdb_bytes(memory_bytes: u64) -> u64 {
        memory_bytes / 4
    }

    /// The uplink's network.
    pub const fn network(&self) -> Network {
        Network { address: self.uplink, prefix_bits: self.uplink_prefix_bits }
    }

    /// Bytes of the flow and mapping tables: almost all of what the engine allocates, and all of it at the
    /// start. Port pools, the timer wheel and accounts add about 0.6 MB whatever the size.
    pub const fn table_bytes(&self) -> usize {
        self.flows as usize * FlowTable::<Ipv4Addr>::bytes_per_flow(self.flows as usize)
            + self.mappings as usize * Mappings::bytes_per_mapping(self.mappings as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(mebibytes: u64) -> Settings {
        Settings::for_memory(mebibytes << 20, Ipv4Addr::new(10, 0, 0, 2))
    }

    #[test]
    fn a_domain_of_16_and_of_64_mib_holds_the_flows_that_are_promised() {
        assert_eq!(settings(16).flows, 32_768);
        assert_eq!(settings(64).flows, 262_144);
        assert_eq!(settings(1 << 20).flows, 1 << 20);
    }

    #[test]
    fn the_tables_take_a_third_of_small_domains_and_half_of_larger_ones_at_most() {
        for mebibytes in [4, 8, 16, 24, 32, 48, 64, 96, 128, 512] {
            let bytes = settings(mebibytes).table_bytes() as u64;
            let part = if mebibytes < 64 { 3 } else { 2 };
            assert!(bytes <= (mebibytes << 20) / part, "{mebibytes} MiB: {bytes} bytes");
        }
    }

    #[test]
    fn a_qube_has_half_the_flows_and_a_quarter_of_its_memory_for_qubesdb() {
        let beside = |mebibytes: u64| {
            let memory = mebibytes << 20;
            let settings =
                Settings::for_memory(memory - Settings::qubesdb_bytes(memory), Ipv4Addr::LOCALHOST);
            (settings.flows, settings.table_bytes() >> 10)
        };
        assert_eq!([16, 32, 64].map(|mebibytes| beside(mebibytes).0), [16_384, 32_768, 65_536]);
        assert!(beside(32).1 <= 4_100, "{} KiB", beside(32).1);
    }

    #[test]
    fn a_flow_takes_no_more_than_128_bytes_with_its_mapping_and_index() {
        assert!(settings(16).table_bytes() / 32_768 <= 128);
        assert!(settings(64).table_bytes() / 262_144 <= 128);
    }
}
