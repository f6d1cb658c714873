//! What the names in rules stand for: one table for the rules of all clients.
//!
//! Whoever resolves names says what each stands for; rules are not touched by it. An address that a name stands for no
//! more is remembered: a flow that was accepted by it goes on. So are the last addresses of a name of which nothing is heard
//! any more, for rules that refuse it.

use super::wanted_names::WantedName;
use crate::base::host_name::HostName;
use crate::base::sort::sort_by_key;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// Addresses that one name has at most, and as many that it had.
const MAX_ADDRESSES: usize = 32;

/// Whether the flow that is asked for is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowAge {
    /// It is to begin.
    New,
    /// It is judged again.
    Open,
}

/// Whether a name stands for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does.
    Present,
    /// It did, and now it stands for others.
    Former,
    /// It did, and nothing else is known of it since.
    Last,
}

/// What becomes of flows when a name stands for other addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowsConcerned {
    /// All go on.
    None,
    /// Those of clients whose rules refuse the name may be refused from now on.
    OfThoseWhoRefuse,
    /// Anybody's may be refused from now on.
    All,
}

/// What is new since a name was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameNews {
    /// Nothing was known of it before.
    pub(super) is_first: bool,
    /// A rule refuses it, and it stands for an address to which flows may have begun.
    pub(super) refuses_more: bool,
}

/// A name, and what is known of it.
#[derive(Debug)]
struct NamedAddresses {
    name: WantedName,
    /// What it stands for.
    present: Vec<Ipv4Addr>,
    /// What it stood for before, the oldest first.
    former: Vec<Ipv4Addr>,
    /// Whether anything was ever said of it, and be it that it stands for nothing.
    is_known: bool,
}

/// Names and their addresses.
#[derive(Debug, Default)]
pub struct NameAddresses {
    /// By name, none twice.
    names: Vec<NamedAddresses>,
    /// Each address with the place of a name that stands or stood for it, in order.
    by_address: Vec<(Ipv4Addr, u32)>,
}

impl NameAddresses {
    /// Holds these names from now on, which are in order and none there twice. What is known of them stays.
    pub(super) fn set_names(&mut self, names: Vec<WantedName>) {
        let mut before = core::mem::take(&mut self.names).into_iter().peekable();
        for name in names {
            while before.next_if(|known| known.name.host < name.host).is_some() {}
            let known = before.next_if(|known| known.name.host == name.host);
            self.names.push(match known {
                Some(known) => NamedAddresses { name, ..known },
                None => NamedAddresses { name, present: Vec::new(), former: Vec::new(), is_known: false },
            });
        }
        self.by_address.clear();
        for (place, known) in (0..).zip(&self.names) {
            let addresses = known.present.iter().chain(&known.former);
            self.by_address.extend(addresses.map(|address| (*address, place)));
        }
        sort_by_key(&mut self.by_address, |entry| order(*entry));
    }

    /// Notes what a name stands for, which may be nothing. `None` for a name that no rule has.
    pub(super) fn set(
        &mut self,
        host: &HostName,
        addresses: impl Iterator<Item = Ipv4Addr>,
    ) -> Option<NameNews> {
        let place = self.place(host)?;
        let known = self.names.get_mut(place)?;
        let is_first = !core::mem::replace(&mut known.is_known, true);
        let before = core::mem::take(&mut known.present);
        known.present.extend(addresses.take(MAX_ADDRESSES));
        let present = &known.present;
        // While it stood for nothing, rules refused what it stood for last.
        let was_refused =
            |address| before.contains(address) || before.is_empty() && known.former.contains(address);
        let is_new = present.iter().any(|address| !was_refused(address));
        known.former.extend(before.iter().filter(|address| !present.contains(address)));
        known.former.retain(|address| !present.contains(address));
        let too_many = known.former.len().saturating_sub(MAX_ADDRESSES);
        known.former.drain(..too_many);

        let place = place as u32;
        let entries: Vec<_> = present.iter().chain(&known.former).map(|address| (*address, place)).collect();
        let refuses_more = is_new && known.name.refuses;
        self.by_address.retain(|(_, other)| *other != place);
        for entry in entries {
            if let Err(at) = self.by_address.binary_search_by_key(&order(entry), |other| order(*other)) {
                self.by_address.insert(at, entry);
            }
        }
        Some(NameNews { is_first, refuses_more })
    }

    /// The names that stand or stood for `address`.
    pub(super) fn names_of(&self, address: Ipv4Addr) -> impl Iterator<Item = (&HostName, Standing)> {
        let first = self.by_address.partition_point(|(other, _)| *other < address);
        let entries = self.by_address.get(first..).unwrap_or_default().iter();
        let of_address = entries.take_while(move |(other, _)| *other == address);
        of_address.filter_map(move |(_, place)| {
            let known = self.names.get(*place as usize)?;
            let standing = match known.present.contains(&address) {
                true => Standing::Present,
                false if known.present.is_empty() => Standing::Last,
                false => Standing::Former,
            };
            Some((&known.name.host, standing))
        })
    }

    /// Whether anything was ever said of a name.
    pub(super) fn is_known(&self, host: &HostName) -> bool {
        self.place(host).and_then(|place| self.names.get(place)).is_some_and(|known| known.is_known)
    }

    /// Whether a rule refuses a name of which nothing was ever said.
    pub(super) fn is_missed(&self, host: &HostName) -> bool {
        let known = self.place(host).and_then(|place| self.names.get(place));
        known.is_some_and(|known| known.name.refuses && !known.is_known)
    }

    /// What this name stands for.
    pub fn of(&self, host: &HostName) -> &[Ipv4Addr] {
        let known = self.place(host).and_then(|place| self.names.get(place));
        known.map_or(&[], |known| &known.present)
    }

    /// The names that are to be known.
    pub fn wanted(&self) -> impl Iterator<Item = &WantedName> {
        self.names.iter().map(|known| &known.name)
    }

    fn place(&self, host: &HostName) -> Option<usize> {
        self.names.binary_search_by(|known| known.name.host.cmp(host)).ok()
    }
}

/// A number that grows with the address, and of one address with the place of the name.
fn order((address, place): (Ipv4Addr, u32)) -> u64 {
    u64::from(address.to_bits()) << 32 | u64::from(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn wanted(names: &[&str], refuses: bool) -> Vec<WantedName> {
        names.iter().map(|name| WantedName { host: host(name), source: 0, refuses }).collect()
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    /// Whether flows are concerned.
    fn set(table: &mut NameAddresses, name: &str, last: &[u8]) -> bool {
        let news = table.set(&host(name), last.iter().map(|last| address(*last)));
        news.is_some_and(|news| news.refuses_more)
    }

    fn names_of(table: &NameAddresses, last: u8) -> Vec<(&str, Standing)> {
        table.names_of(address(last)).map(|(host, standing)| (host.text(), standing)).collect()
    }

    #[test]
    fn an_address_leads_to_all_names_that_stand_or_stood_for_it() {
        let mut table = NameAddresses::default();
        table.set_names(wanted(&["a", "b", "c"], false));
        set(&mut table, "a", &[1, 2]);
        set(&mut table, "b", &[2, 3]);
        set(&mut table, "other", &[1]);
        assert_eq!(names_of(&table, 2), [("a", Standing::Present), ("b", Standing::Present)]);
        set(&mut table, "a", &[1]);
        assert_eq!(names_of(&table, 2), [("a", Standing::Former), ("b", Standing::Present)]);
        set(&mut table, "a", &[]);
        assert_eq!(names_of(&table, 1), [("a", Standing::Last)]);
        set(&mut table, "a", &[2]);
        assert_eq!(names_of(&table, 1), [("a", Standing::Former)]);
        assert_eq!(names_of(&table, 2), [("a", Standing::Present), ("b", Standing::Present)]);
        assert_eq!(names_of(&table, 9), []);
    }

    #[test]
    fn names_that_stay_keep_their_addresses() {
        let mut table = NameAddresses::default();
        table.set_names(wanted(&["b", "c"], false));
        set(&mut table, "b", &[1]);
        set(&mut table, "c", &[1, 2]);
        table.set_names(wanted(&["a", "c", "d"], false));
        assert_eq!(names_of(&table, 1), [("c", Standing::Present)]);
        assert_eq!((table.of(&host("b")).len(), table.of(&host("c")).len()), (0, 2));
        assert!(table.is_known(&host("c")) && !table.is_known(&host("a")) && !table.is_known(&host("b")));
    }

    #[test]
    fn of_addresses_that_were_so_many_are_remembered() {
        let mut table = NameAddresses::default();
        table.set_names(wanted(&["a"], false));
        (0..100).for_each(|last| assert!(!set(&mut table, "a", &[last])));
        assert_eq!(table.by_address.len(), 1 + MAX_ADDRESSES);
        assert_eq!((names_of(&table, 66).len(), names_of(&table, 67).len()), (0, 1));
        set(&mut table, "a", &(100..200).collect::<Vec<u8>>());
        assert_eq!(table.by_address.len(), 2 * MAX_ADDRESSES);
    }

    #[test]
    fn flows_are_concerned_by_a_new_address_of_a_name_that_is_refused() {
        for refuses in [false, true] {
            let mut table = NameAddresses::default();
            table.set_names(wanted(&["a"], refuses));
            assert_eq!(set(&mut table, "a", &[1, 2]), refuses);
            assert!(!set(&mut table, "a", &[2]));
            // Meanwhile flows may have begun.
            assert_eq!(set(&mut table, "a", &[1, 2]), refuses);
        }
    }

    #[test]
    fn flows_are_not_concerned_by_an_address_that_was_refused_all_along() {
        let mut table = NameAddresses::default();
        table.set_names(wanted(&["a"], true));
        assert!(set(&mut table, "a", &[1, 2]));
        assert!(!set(&mut table, "a", &[2, 1]));
        assert!(!set(&mut table, "a", &[]) && !set(&mut table, "a", &[2]));
        assert!(set(&mut table, "a", &[2, 3]));
    }

    #[test]
    fn a_name_is_known_once_anything_was_said_of_it() {
        let mut table = NameAddresses::default();
        table.set_names(wanted(&["a", "b"], true));
        assert!(!table.is_known(&host("a")));
        let news =
            |table: &mut NameAddresses| table.set(&host("a"), core::iter::empty()).map(|news| news.is_first);
        assert_eq!((news(&mut table), news(&mut table)), (Some(true), Some(false)));
        assert!(table.is_known(&host("a")) && !table.is_known(&host("b")));
        assert!(!table.is_missed(&host("a")) && table.is_missed(&host("b")));
        assert_eq!(table.set(&host("c"), core::iter::empty()), None);
    }
}
