//! Which addresses a host can have, as far as they can be told by themselves: for all that sets one, at boot and later.

use crate::base::prefix::Ipv4Prefix;
use core::fmt;
use core::net::Ipv4Addr;

/// Why an address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnusableAddress {
    /// In 0.0.0.0/8 ("this network").
    Unspecified,
    /// In 127.0.0.0/8.
    Loopback,
    /// In 224.0.0.0/4.
    Multicast,
    /// In 240.0.0.0/4, the limited broadcast address included.
    Reserved,
    /// The lowest address of its network, which names the network.
    Network,
    /// The highest address of its network, which is its broadcast address.
    Broadcast,
    /// Not in the network of our address, which is not a /32 either (a /32 reaches its gateway directly).
    Elsewhere(Ipv4Prefix),
    /// Our own address.
    Ours,
    /// The gateway's.
    Gateway,
    /// Of a network with a prefix of no bits, in which everybody would be a neighbour.
    NoNetwork,
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressRole {
    /// Ours on the uplink.
    Uplink,
    /// Ours on the uplink, as the toolstack says of our network device.
    Device,
    /// That of who forwards to the world.
    Gateway,
    /// The one that clients know us by.
    ClientGateway,
    /// That of a name server.
    Resolver,
}

impl AddressRole {
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// An address that cannot be what it was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedAddress {
    /// What it was for.
    pub role: AddressRole,
    /// The address.
    pub address: Ipv4Addr,
    /// Why not.
    pub why: UnusableAddress,
}

/// Whether a single host can have the address (RFC 1122, 3.2.1.3).
///
/// # Errors
/// Why not.
pub fn check_host(address: Ipv4Addr) -> Result<(), UnusableAddress> {
    match address.octets() {
        [0, ..] => Err(UnusableAddress::Unspecified),
        [127, ..] => Err(UnusableAddress::Loopback),
        [224..=239, ..] => Err(UnusableAddress::Multicast),
        [240..=255, ..] => Err(UnusableAddress::Reserved),
        _ => Ok(()),
    }
}

/// Whether we can have the address in the network that it comes with.
///
/// # Errors
/// Why not.
pub fn check_ours(ours: Ipv4Prefix) -> Result<(), UnusableAddress> {
    check_host(ours.address())?;
    match ours.length() {
        0 => Err(UnusableAddress::NoNetwork),
        _ => check_place(ours, ours.address()),
    }
}

/// Whether a gateway can have the address where `ours` is our own: a neighbour, or any with a /32.
///
/// # Errors
/// Why not.
pub fn check_gateway(ours: Ipv4Prefix, gateway: Ipv4Addr) -> Result<(), UnusableAddress> {
    check_host(gateway)?;
    if gateway == ours.address() {
        Err(UnusableAddress::Ours)
    } else if ours.length() == 32 {
        Ok(())
    } else if !ours.contains(gateway) {
        Err(UnusableAddress::Elsewhere(ours.network()))
    } else {
        check_place(ours, gateway)
    }
}

/// Ours on the uplink where the toolstack gave our network device the address `device`: in the `configured` network if
/// we and the gateway can be there, or else as a /32, which reaches the gateway directly.
///
/// # Errors
/// Why we cannot have it.
pub fn check_device(
    device: Ipv4Addr,
    configured: Ipv4Prefix,
    gateway: Option<Ipv4Addr>,
) -> Result<Ipv4Prefix, UnusableAddress> {
    if gateway == Some(device) {
        return Err(UnusableAddress::Gateway);
    }
    let fits = |ours: &Ipv4Prefix| {
        check_ours(*ours).is_ok() && gateway.is_none_or(|gateway| check_gateway(*ours, gateway).is_ok())
    };
    let ours = Ipv4Prefix::new(device, configured.length()).filter(fits);
    let ours = ours.unwrap_or(Ipv4Prefix::host(device));
    check_ours(ours).map(|()| ours)
}

/// Whether a host of that network can have the address. /31 (RFC 3021) and /32 have hosts only.
fn check_place(network: Ipv4Prefix, address: Ipv4Addr) -> Result<(), UnusableAddress> {
    if network.length() >= 31 {
        Ok(())
    } else if address == network.first() {
        Err(UnusableAddress::Network)
    } else if address == network.last() {
        Err(UnusableAddress::Broadcast)
    } else {
        Ok(())
    }
}

impl fmt::Display for RefusedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            AddressRole::Uplink => "our address on the uplink",
            AddressRole::Device => "the uplink device's address",
            AddressRole::Gateway => "the gateway",
            AddressRole::ClientGateway => "the clients' gateway",
            AddressRole::Resolver => "a name server",
        };
        write!(f, "{role} cannot be {}: {}", self.address, self.why)
    }
}

impl fmt::Display for UnusableAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnusableAddress::Unspecified => f.write_str("0.0.0.0/8 names no host"),
            UnusableAddress::Loopback => f.write_str("127.0.0.0/8 is the loopback network"),
            UnusableAddress::Multicast => f.write_str("224.0.0.0/4 is multicast"),
            UnusableAddress::Reserved => f.write_str("240.0.0.0/4 is reserved"),
            UnusableAddress::Network => f.write_str("it names the network"),
            UnusableAddress::Broadcast => f.write_str("it is the network's broadcast address"),
            UnusableAddress::Elsewhere(network) => {
                write!(f, "it is outside {network}, the network of our address")
            }
            UnusableAddress::Ours => f.write_str("it is our own address"),
            UnusableAddress::Gateway => f.write_str("it is the gateway's"),
            UnusableAddress::NoNetwork => f.write_str("/0 is no network"),
        }
    }
}
