//! What the names in rules stand for: one table for the rules of all clients.
//!
//! Whoever resolves names says what each stands for; rules are not touched by it. An address that a name stands for no
//! more is remembered for some minutes, and as long as there are flows to it: a flow that was accepted by it goes on. So are the
//! last addresses of a name of which nothing is heard any more, for rules that refuse it.

use super::wanted_names::WantedName;
use crate::base::host_name::HostName;
use crate::base::sort::sort_by_key;
use crate::base::time::Moment;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// Addresses that one name has at most, and as many that it had.
const MAX_ADDRESSES: usize = 32;

/// How long an address is remembered that a name stands for no more, and then for as long again whenever there are flows to it.
const REMEMBERED: Duration = Duration::from_secs(600);

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
    former: Vec<FormerAddress>,
    /// Whether anything was ever said of it, and be it that it stands for nothing.
    is_known: bool,
}

/// An address that a name stands for no more.
#[derive(Clone, Copy, Debug)]
struct FormerAddress {
    address: Ipv4Addr,
    /// It is remembered until then, and longer if it is used.
    until: Moment,
    /// There is a flow to it.
    is_used: bool,
}

impl NamedAddresses {
    fn new(name: WantedName) -> Self {
        Self { name, present: Vec::new(), former: Vec::new(), is_known: false }
    }

    /// What it stands or stood for, none twice.
    fn all(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.present.iter().copied().chain(self.former.iter().map(|former| former.address))
    }

    /// Whether its former addresses are refused.
    fn is_refused_by_its_last(&self) -> bool {
        self.present.is_empty() && self.name.refuses
    }
}

/// Names and their addresses.
#[derive(Debug, Default)]
pub struct NameAddresses {
    /// By name, none twice.
    names: Vec<NamedAddresses>,
    /// Each address with the place of a name that stands or stood for it, in order.
    by_address: Vec<(Ipv4Addr, u32)>,
    /// When it is to be looked which former addresses are used; earlier there is nothing to do.
    review: Option<Moment>,
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
                None => NamedAddresses::new(name),
            });
        }
        self.by_address.clear();
        for (place, known) in (0..).zip(&self.names) {
            self.by_address.extend(known.all().map(|address| (address, place)));
        }
        sort_by_key(&mut self.by_address, |entry| order(*entry));
    }

    /// Notes what a name stands for from `now` on, which may be nothing. `None` for a name that no rule has.
    pub(super) fn set(
        &mut self,
        host: &HostName,
        addresses: impl Iterator<Item = Ipv4Addr>,
        now: Moment,
    ) -> Option<NameNews> {
        let place = self.place(host)?;
        let known = self.names.get_mut(place)?;
        let is_first = !core::mem::replace(&mut known.is_known, true);
        let filed: Vec<Ipv4Addr> = known.all().collect();
        let before = core::mem::take(&mut known.present);
        known.present.extend(addresses.take(MAX_ADDRESSES));
        let present = &known.present;
        // While it stood for nothing, rules refused what it stood for last.
        let refused = if before.is_empty() { &filed } else { &before };
        let refuses_more = known.name.refuses && present.iter().any(|address| !refused.contains(address));
        let until = now + REMEMBERED;
        let remembered =
            before.iter().map(|address| FormerAddress { address: *address, until, is_used: false });
        known.former.extend(remembered);
        known.former.retain(|former| !present.contains(&former.address));
        let too_many = known.former.len().saturating_sub(MAX_ADDRESSES);
        known.former.drain(..too_many);
        if !known.former.is_empty() {
            self.review.get_or_insert(until);
        }

        // What stays is not moved.
        let entry = |address| (address, place as u32);
        let by_order = |entry| move |other: &(Ipv4Addr, u32)| order(*other).cmp(&order(entry));
        for gone in filed.into_iter().filter(|address| known.all().all(|other| other != *address)).map(entry)
        {
            if let Ok(at) = self.by_address.binary_search_by(by_order(gone)) {
                self.by_address.remove(at);
            }
        }
        for there in known.all().map(entry) {
            if let Err(at) = self.by_address.binary_search_by(by_order(there)) {
                self.by_address.insert(at, there);
            }
        }
        Some(NameNews { is_first, refuses_more })
    }

    /// When [`Self::forget_unused`] has something to do, once [`Self::note_use`] was called for all flows.
    pub const fn review(&self) -> Option<Moment> {
        self.review
    }

    /// There is a flow to `address`.
    pub fn note_use(&mut self, address: Ipv4Addr) {
        for (_, place) in entries_of(&self.by_address, address) {
            let known = self.names.get_mut(*place as usize);
            let former = known.into_iter().flat_map(|known| &mut known.former);
            former.filter(|former| former.address == address).for_each(|former| former.is_used = true);
        }
    }

    /// Forgets former addresses whose time is over at `now` and to which there were no flows.
    #[inline(never)]
    pub fn forget_unused(&mut self, now: Moment) {
        self.review = None;
        for known in &mut self.names {
            if known.is_refused_by_its_last() {
                continue;
            }
            known.former.retain_mut(|former| {
                if former.until <= now && core::mem::take(&mut former.is_used) {
                    former.until = now + REMEMBERED;
                }
                former.until > now
            });
            let next = known.former.iter().map(|former| former.until);
            self.review = next.chain(self.review).min();
        }
        let names = &self.names;
        self.by_address.retain(|(address, place)| {
            names.get(*place as usize).is_some_and(|known| known.all().any(|other| other == *address))
        });
    }

    /// The names that stand or stood for `address`.
    pub(super) fn names_of(&self, address: Ipv4Addr) -> impl Iterator<Item = (&HostName, Standing)> {
        entries_of(&self.by_address, address).filter_map(move |(_, place)| {
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

/// Those entries of a sorted list that are of this address.
fn entries_of(by_address: &[(Ipv4Addr, u32)], address: Ipv4Addr) -> impl Iterator<Item = &(Ipv4Addr, u32)> {
    let first = by_address.partition_point(|(other, _)| *other < address);
    let entries = by_address.get(first..).unwrap_or_default().iter();
    entries.take_while(move |(other, _)| *other == address)
}

/// A number that grows with the address, and of one address with the place of the name.
fn order((address, place): (Ipv4Addr, u32)) -> u64 {
    u64::from(address.to_bits()) << 32 | u64::from(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const START: Moment = Moment::from_nanoseconds(1_000_000_000);

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
        let news = table.set(&host(name), last.iter().map(|last| address(*last)), START);
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
    fn a_former_address_is_remembered_for_some_minutes_and_while_there_are_flows_to_it() {
        for refuses in [false, true] {
            let mut table = NameAddresses::default();
            table.set_names(wanted(&["a", "b"], refuses));
            assert_eq!(table.review(), None);
            set(&mut table, "a", &[1, 2, 3]);
            set(&mut table, "b", &[2]);
            set(&mut table, "a", &[3]);
            set(&mut table, "b", &[]);
            let [first, second] = [1, 2].map(|times| START + REMEMBERED * times);
            assert_eq!(table.review(), Some(first));
            table.note_use(address(1));
            table.note_use(address(3));
            table.forget_unused(first);
            assert_eq!((names_of(&table, 1), names_of(&table, 3).len()), (vec![("a", Standing::Former)], 1));
            // A rule that refuses a name goes on refusing what it stood for last.
            let last = if refuses { vec![("b", Standing::Last)] } else { vec![] };
            assert_eq!((names_of(&table, 2), table.review()), (last, Some(second)));
            table.forget_unused(second);
            assert_eq!((names_of(&table, 1).len(), table.review()), (0, None));
            assert_eq!(names_of(&table, 3), [("a", Standing::Present)]);
            // Once it stands for something, what it stood for before is forgotten, too.
            set(&mut table, "b", &[4]);
            table.forget_unused(second + REMEMBERED);
            assert_eq!((names_of(&table, 2).len(), table.by_address.len()), (0, 2));
        }
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
        let news = |table: &mut NameAddresses| {
            table.set(&host("a"), core::iter::empty(), START).map(|news| news.is_first)
        };
        assert_eq!((news(&mut table), news(&mut table)), (Some(true), Some(false)));
        assert!(table.is_known(&host("a")) && !table.is_known(&host("b")));
        assert!(!table.is_missed(&host("a")) && table.is_missed(&host("b")));
        assert_eq!(table.set(&host("c"), core::iter::empty(), START), None);
    }
}
