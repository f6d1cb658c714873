//! Who takes part: domains and the addresses of everybody.

use crate::xen::DomainId;
use core::net::Ipv4Addr;

/// The toolstack's domain.
pub const TOOLSTACK: DomainId = DomainId(0);
/// The domain of the uplink's backend.
pub const UPLINK: DomainId = DomainId(1);
/// The kernel under test.
pub const KERNEL: DomainId = DomainId(2);
/// xenstored.
pub const STORE: DomainId = DomainId(0x7fe0);
/// Who reads the console.
pub const TERMINAL: DomainId = DomainId(0x7fe1);

/// Our address on the uplink.
pub const FIREWALL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The uplink's router.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// A server beyond it.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 20);
/// A host that every client's rules refuse altogether.
pub const FORBIDDEN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
/// The network that hostile clients send nonsense to.
pub const NONSENSE_NETWORK: [u8; 3] = [192, 0, 2];
/// The address that clients use as their router: any that is not theirs will do.
pub const CLIENT_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 1);

/// Our Ethernet address on the uplink, as the toolstack gives it.
pub const UPLINK_MAC: [u8; 6] = [0x00, 0x16, 0x3e, 0, 0, 1];
/// The first bytes of every client's Ethernet address, and of nobody else's.
pub const CLIENT_MAC: [u8; 4] = [0x00, 0x16, 0x3e, 0x5e];

/// The domain of client number `index`.
pub fn client_domain(index: usize) -> DomainId {
    DomainId(10 + index as u16)
}

/// The address of client number `index`.
pub fn client_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 137, 0, 10 + index as u8)
}

/// The Ethernet address of client number `index`.
pub fn client_mac(index: usize) -> [u8; 6] {
    let [a, b, c, d] = CLIENT_MAC;
    [a, b, c, d, 0, index as u8 + 1]
}
