//! Addresses that clients have on their own vif, where these are others than those that the toolstack knows them by.
//!
//! Qubes OS lets a qube believe that it has another address (`fake-ip`, the keys `/mapped-ip/…` of QubesDB), so that the
//! qube does not know its place in the network. On that client's vif packets have the visible address; rules, permits,
//! forwards and other clients know the real one.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// What a client sees of itself and of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visible {
    /// The client's own address, as it believes.
    pub address: Ipv4Addr,
    /// Our address, as it believes; `None`: that of all clients.
    pub gateway: Option<Ipv4Addr>,
}

/// What clients see, by their real address. A client that is not in it sees its real one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VisibleAddresses(Vec<(Ipv4Addr, Visible)>);

impl VisibleAddresses {
    /// The list; of several entries for one client the last counts.
    pub fn new(entries: impl IntoIterator<Item = (Ipv4Addr, Visible)>) -> Self {
        let mut all = Self::default();
        for (real, visible) in entries {
            match all.0.binary_search_by_key(&real, |(real, _)| *real) {
                Ok(at) => {
                    if let Some(entry) = all.0.get_mut(at) {
                        entry.1 = visible;
                    }
                }
                Err(at) => all.0.insert(at, (real, visible)),
            }
        }
        all
    }

    /// What the client of the address `real` sees.
    pub fn of(&self, real: Ipv4Addr) -> Visible {
        let at = self.0.binary_search_by_key(&real, |(real, _)| *real);
        let found = at.ok().and_then(|at| self.0.get(at));
        found.map_or(Visible { address: real, gateway: None }, |(_, visible)| *visible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sees_what_was_said_last_of_it_and_else_its_real_address() {
        let address = |last| Ipv4Addr::new(10, 137, 0, last);
        let sees = |last| Visible { address: Ipv4Addr::new(192, 168, 0, last), gateway: None };
        let all =
            VisibleAddresses::new([(address(9), sees(1)), (address(5), sees(2)), (address(9), sees(3))]);
        assert_eq!(all.of(address(9)), sees(3));
        assert_eq!(all.of(address(5)), sees(2));
        assert_eq!(all.of(address(7)), Visible { address: address(7), gateway: None });
    }
}
