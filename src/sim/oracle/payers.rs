//! An oracle: an account is one address's, whatever slot that is on, and what waits for the uplink is on the accounts of
//! whoever caused it, its pages and its turn.

use crate::kernel::Firewall;
use crate::store::StoreRing;
use crate::tables::share;
use crate::vif::frame::Frame;
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::HEADER_BYTES;
use crate::xen::Xen;
use crate::xen::charge::Charge;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::net::Ipv4Addr;

/// The uplink's account, and the firewall's.
const OURS: share::Account = share::Account::UPLINK;

/// Watches who pays, turn by turn.
#[derive(Debug, Default)]
pub struct PayerOracle {
    /// Whose each account is, by its place. There are more than addresses.
    owners: BTreeMap<usize, Ipv4Addr>,
}

impl PayerOracle {
    /// Objects when one pays for another.
    pub fn check(
        &mut self,
        firewall: &mut Firewall<impl Xen, impl StoreRing + 'static>,
    ) -> Result<(), String> {
        for (address, account) in firewall.accounts() {
            let owner = *self.owners.entry(account.position()).or_insert(address);
            let others = self.owners.iter().filter(|(_, other)| **other == address).count();
            if owner != address || others > 1 {
                return Err(format!(
                    "{address} has {account:?}, which was {owner}'s, and {} others",
                    others - 1
                ));
            }
        }
        check_waiting(firewall)
    }
}

/// Of each account the oldest frame that waits for the uplink is looked at.
fn check_waiting(firewall: &mut Firewall<impl Xen, impl StoreRing + 'static>) -> Result<(), String> {
    let gateway = firewall.egress().route().map(|route| route.gateway());
    // Whoever answers hosts there has them asked for.
    let held = firewall.egress().neighbours.holdings(OURS);
    let asks = held.silent + held.known > 0;
    for frame in firewall.waiting_for_uplink() {
        let (account, charge) = (frame.account(), frame.charge());
        let is_ours = matches!(charge, Charge::OWN | Charge::UPLINK);
        let asked_for = question(frame).filter(|&hop| Some(hop) != gateway && !asks);
        let is_wrong = (account == OURS) != is_ours || (account == OURS && asked_for.is_some());
        if is_wrong {
            return Err(format!("{account:?} sends and {charge:?} pays; asked for: {asked_for:?}"));
        }
    }
    Ok(())
}

/// The hop that a frame asks for, if it does.
fn question(frame: &Frame) -> Option<Ipv4Addr> {
    let arp = Arp::read(frame.head().get(HEADER_BYTES..)?)?;
    (arp.operation == Operation::Request && arp.target != arp.sender).then_some(arp.target)
}
