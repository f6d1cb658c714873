//! Which client owns an address: of several connected vifs with the same one, the newest domain's.
//!
//! A virtual machine with a device model domain has two vifs with one address, and a clone may be given the address of
//! its original. Xen gives out rising domain numbers, so the highest is the newest, unless they have wrapped meanwhile.

use crate::base::side::ClientSlot;
use crate::config::change::Ownership;
use crate::vif::device_id::DeviceId;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// A connected client and whether traffic for its address goes to it.
#[derive(Clone, Copy, Debug)]
struct Claim {
    slot: ClientSlot,
    id: DeviceId,
    address: Ipv4Addr,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Another claim to the address is newer.
    Waits,
    /// Traffic for the address goes here.
    Owns,
}

/// Every connected client's claim to its address.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    claims: Vec<Claim>,
}

impl Owners {
    /// The client on `slot` has connected. A claim that the slot still has is withdrawn first.
    pub fn claim(&mut self, slot: ClientSlot, id: DeviceId, address: Ipv4Addr, changes: &mut Vec<Ownership>) {
        self.withdraw(slot, changes);
        self.claims.push(Claim { slot, id, address, role: Role::Waits });
        self.settle(address, changes);
    }

    /// The client on `slot` is not connected any more.
    pub fn withdraw(&mut self, slot: ClientSlot, changes: &mut Vec<Ownership>) {
        let Some(index) = self.claims.iter().position(|claim| claim.slot == slot) else { return };
        let claim = self.claims.swap_remove(index);
        if claim.role == Role::Owns {
            changes.push(Ownership::Lost(slot));
            self.settle(claim.address, changes);
        }
    }

    /// Gives an address to the newest that claims it.
    fn settle(&mut self, address: Ipv4Addr, changes: &mut Vec<Ownership>) {
        let claims = self.claims.iter().filter(|claim| claim.address == address);
        let Some(newest) = claims.max_by_key(|claim| claim.id).map(|claim| claim.slot) else { return };
        // Whoever loses the address loses it before another gains it.
        for claim in &mut self.claims {
            if claim.address == address && claim.role == Role::Owns && claim.slot != newest {
                claim.role = Role::Waits;
                changes.push(Ownership::Lost(claim.slot));
            }
        }
        for claim in &mut self.claims {
            if claim.slot == newest && claim.role == Role::Waits {
                claim.role = Role::Owns;
                changes.push(Ownership::Gained(newest, address));
            }
        }
    }

    /// Whether an address belongs to a connected client.
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.claims.iter().any(|claim| claim.address == address && claim.role == Role::Owns)
    }
}

#[cfg(test)]
mod tests {
    use super::Ownership::*;
    use super::*;
    use crate::xen::DomainId;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 5);

    fn id(domain: u16) -> DeviceId {
        DeviceId { domain: DomainId(domain), device: 0 }
    }

    /// Runs `act` on the owners; what it changed.
    fn changed(owners: &mut Owners, act: impl FnOnce(&mut Owners, &mut Vec<Ownership>)) -> Vec<Ownership> {
        let mut changes = Vec::new();
        act(owners, &mut changes);
        changes
    }

    #[test]
    fn newest_domain_has_the_address_and_the_other_takes_over_when_it_goes() {
        let mut owners = Owners::default();
        let (old, new) = (ClientSlot(3), ClientSlot(1));
        let gained = changed(&mut owners, |owners, changes| owners.claim(old, id(7), ADDRESS, changes));
        assert_eq!(gained, [Gained(old, ADDRESS)]);
        let moved = changed(&mut owners, |owners, changes| owners.claim(new, id(8), ADDRESS, changes));
        assert_eq!(moved, [Lost(old), Gained(new, ADDRESS)]);
        assert!(owners.owns(ADDRESS));
        let back = changed(&mut owners, |owners, changes| owners.withdraw(new, changes));
        assert_eq!(back, [Lost(new), Gained(old, ADDRESS)]);
        let gone = changed(&mut owners, |owners, changes| owners.withdraw(old, changes));
        assert_eq!(gone, [Lost(old)]);
        assert!(!owners.owns(ADDRESS));
    }

    #[test]
    fn older_domain_that_connects_later_waits() {
        let mut owners = Owners::default();
        let (new, old) = (ClientSlot(0), ClientSlot(1));
        changed(&mut owners, |owners, changes| owners.claim(new, id(8), ADDRESS, changes));
        assert_eq!(changed(&mut owners, |owners, changes| owners.claim(old, id(7), ADDRESS, changes)), []);
        assert_eq!(changed(&mut owners, |owners, changes| owners.withdraw(old, changes)), []);
    }

    #[test]
    fn client_that_reconnects_loses_its_address_for_a_moment() {
        let mut owners = Owners::default();
        let slot = ClientSlot(0);
        changed(&mut owners, |owners, changes| owners.claim(slot, id(7), ADDRESS, changes));
        let again = changed(&mut owners, |owners, changes| owners.claim(slot, id(7), ADDRESS, changes));
        assert_eq!(again, [Lost(slot), Gained(slot, ADDRESS)]);
    }
}
