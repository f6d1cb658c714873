//! Which names of all rules are resolved: so many at most, those of the rules for all clients first, and of the others each section
//! has its part.

use super::rule_names::RuleNames;
use crate::base::host_name::HostName;
use alloc::vec::Vec;

/// Names that are resolved at most.
pub const MAX_NAMES: usize = 1024;

/// A name that is to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedName {
    /// The name.
    pub host: HostName,
    /// The number of a section that has it, and for which it is resolved; that of the rules for all clients is 0.
    pub source: u32,
    /// Whether a rule refuses it.
    pub refuses: bool,
}

/// The names that are to be resolved, in order. Each counts once, whoever else has it, too. If there are too many, the names of
/// `base` go before those of all others, and of these none of a section's first ones is left out for another section's later ones:
/// one of each is taken, then the next of each. Those that are left out stay unresolved.
pub(super) fn wanted_names<'s>(
    base: &RuleNames,
    sections: impl Iterator<Item = &'s RuleNames>,
) -> Vec<WantedName> {
    let mut wanted: Vec<WantedName> = Vec::new();
    base.all().iter().for_each(|host| want(&mut wanted, host, 0, base));
    let mut left: Vec<_> = (1..).zip(sections).map(|(source, names)| (source, names, names.all())).collect();
    while !left.is_empty() {
        left.retain_mut(|(source, names, hosts)| match hosts.split_first() {
            Some((host, rest)) => {
                want(&mut wanted, host, *source, names);
                *hosts = rest;
                true
            }
            None => false,
        });
    }
    wanted
}

/// Adds a name of a section's, if there is room for it.
fn want(wanted: &mut Vec<WantedName>, host: &HostName, source: u32, names: &RuleNames) {
    match wanted.binary_search_by(|known| known.host.cmp(host)) {
        Ok(place) => {
            if let Some(known) = wanted.get_mut(place) {
                known.refuses |= names.refuse(host);
            }
        }
        Err(place) if wanted.len() < MAX_NAMES => {
            wanted.insert(place, WantedName { host: host.clone(), source, refuses: names.refuse(host) });
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::compiled::Lifetime;
    use alloc::format;

    fn names(prefix: &str, count: usize) -> RuleNames {
        let mut names = RuleNames::default();
        for number in 0..count {
            names.add(&HostName::parse(&format!("{prefix}{number}")).unwrap());
        }
        names
    }

    fn count_of(wanted: &[WantedName], prefix: &str) -> usize {
        wanted.iter().filter(|name| name.host.text().starts_with(prefix)).count()
    }

    #[test]
    fn each_name_is_wanted_once() {
        let mut refusing = names("a", 1);
        refusing.add(&HostName::parse("a1").unwrap());
        refusing.add_refused(&HostName::parse("a1").unwrap(), Lifetime::FOREVER);
        let wanted = wanted_names(&names("a", 3), [names("b", 2), refusing].iter());
        let found: Vec<_> = wanted.iter().map(|name| (name.host.text(), name.source, name.refuses)).collect();
        let expected =
            [("a0", 0, false), ("a1", 0, true), ("a2", 0, false), ("b0", 1, false), ("b1", 1, false)];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_section_with_many_names_leaves_the_others_theirs() {
        let sections = [names("a", 5000), names("b", 10), names("c", 900)];
        let wanted = wanted_names(&RuleNames::default(), sections.iter());
        assert_eq!(["a", "b", "c"].map(|prefix| count_of(&wanted, prefix)), [507, 10, 507]);
        assert!(wanted.is_sorted_by(|a, b| a.host < b.host) && wanted.len() == MAX_NAMES);
        assert!(wanted.iter().any(|name| name.host.text() == "a506"));
    }

    #[test]
    fn names_of_the_rules_for_all_clients_go_before_those_of_however_many_sections() {
        let many: Vec<_> = (0..2000).map(|number| names(&format!("s{number}x"), 1)).collect();
        let wanted = wanted_names(&names("base", 900), many.iter());
        assert_eq!((count_of(&wanted, "base"), count_of(&wanted, "s")), (900, 124));
        assert_eq!(count_of(&wanted_names(&names("base", 2000), many.iter()), "base"), MAX_NAMES);
    }

    #[test]
    fn sections_that_have_the_same_names_take_one_part_together() {
        let mut same: Vec<_> = (0..2000).map(|_| names("same", 10)).collect();
        same.push(names("other", 1000));
        let wanted = wanted_names(&RuleNames::default(), same.iter());
        assert_eq!((count_of(&wanted, "same"), count_of(&wanted, "other")), (10, 1000));
        let mut refusing = RuleNames::default();
        refusing.add(&HostName::parse("same3").unwrap());
        refusing.add_refused(&HostName::parse("same3").unwrap(), Lifetime::FOREVER);
        same.push(refusing);
        let wanted = wanted_names(&RuleNames::default(), same.iter());
        let refused: Vec<_> =
            wanted.iter().filter(|name| name.refuses).map(|name| name.host.text()).collect();
        assert_eq!(refused, ["same3"]);
    }
}
