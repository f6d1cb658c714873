//! The settings of a qube that concern its network, read from the database.
//!
//! An entry that is empty counts as one that is not there. One that makes no sense is not in effect and is listed.
//! Whether an address can be a host's is not judged here: that is for whoever sets it.

use super::fault::ValueFault;
use crate::base::prefix::Ipv4Prefix;
use crate::base::text::Excerpt;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

/// What the database says of our network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QubesSettings {
    /// Ours on the uplink, with its network: `/qubes-ip`, `/qubes-netmask`. A qube without a netvm has none, unless it had
    /// one before.
    pub address: Option<Ipv4Prefix>,
    /// Who forwards to the world: `/qubes-gateway`.
    pub gateway: Option<Ipv4Addr>,
    /// The name servers that we ask: `/qubes-primary-dns`, `/qubes-secondary-dns`.
    pub resolvers: [Option<Ipv4Addr>; 2],
    /// The address that clients know us by: `/qubes-netvm-gateway`.
    pub client_gateway: Option<Ipv4Addr>,
    /// The name servers that clients ask: `/qubes-netvm-primary-dns`, `/qubes-netvm-secondary-dns`.
    pub client_resolvers: [Option<Ipv4Addr>; 2],
    /// What makes no sense.
    pub mistakes: Vec<SettingMistake>,
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingMistake {
    /// Where it is in the database.
    pub path: &'static str,
    /// What it says, unless that is no text.
    pub value: Option<Excerpt>,
}

impl fmt::Display for SettingMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} cannot be {value}", self.path),
            None => write!(f, "{} is not text", self.path),
        }
    }
}

impl QubesSettings {
    /// Reads the settings; `setting` tells the value of one that is there and not empty.
    pub(super) fn read<'d>(setting: impl Fn(&str) -> Option<Result<&'d str, ValueFault>>) -> Self {
        let mut mistakes = Vec::new();
        let mut address = |path: &'static str| {
            let value = setting(path)?;
            let address = value.ok().and_then(|text| text.parse().ok());
            if address.is_none() {
                mistakes.push(SettingMistake { path, value: value.ok().map(Excerpt::of) });
            }
            address
        };
        let ours = address("/qubes-ip");
        let mask: Option<Ipv4Addr> = address("/qubes-netmask");
        let gateway = address("/qubes-gateway");
        let resolvers = [address("/qubes-primary-dns"), address("/qubes-secondary-dns")];
        let client_gateway = address("/qubes-netvm-gateway");
        let client_resolvers = [address("/qubes-netvm-primary-dns"), address("/qubes-netvm-secondary-dns")];
        let length = mask.map(|mask| (mask, u32::from(mask).leading_ones()));
        if let Some((mask, length)) = length
            && u32::from(mask).count_ones() != length
        {
            let value = setting("/qubes-netmask").and_then(Result::ok).map(Excerpt::of);
            mistakes.push(SettingMistake { path: "/qubes-netmask", value });
        }
        let length = length.filter(|(mask, length)| u32::from(*mask).count_ones() == *length);
        let length = length.map_or(32, |(_, length)| length as u8);
        let address = ours.and_then(|ours| Ipv4Prefix::new(ours, length));
        Self { address, gateway, resolvers, client_gateway, client_resolvers, mistakes }
    }
}
