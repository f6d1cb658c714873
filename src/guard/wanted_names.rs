//! Which names of all rules are resolved: so many at most, and each section has its part.

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
    /// The number of a section that has it. Sections that have the name, too, and come later are not named.
    pub source: u32,
    /// Whether a rule refuses it.
    pub refuses: bool,
}

/// The names that are to be resolved, in order. If there are too many, none of a section's first ones is left out for
/// another section's later ones: as many are taken of each as fit when as many are taken of all. Those that are left out stay
/// unresolved.
pub(super) fn wanted_names<'s>(sections: impl Iterator<Item = &'s RuleNames> + Clone) -> Vec<WantedName> {
    let sum = |part: usize| sections.clone().map(|names| names.all().len().min(part)).sum::<usize>();
    let mut part = MAX_NAMES;
    if sum(part) > MAX_NAMES {
        // The largest part that fits lies in between.
        let (mut fits, mut too_large) = (0, part);
        while too_large - fits > 1 {
            let middle = fits.midpoint(too_large);
            if sum(middle) <= MAX_NAMES { fits = middle } else { too_large = middle }
        }
        part = fits;
    }
    let mut wanted: Vec<WantedName> = Vec::new();
    for (source, names) in (0..).zip(sections) {
        for host in names.all().iter().take(part) {
            let refuses = names.refuse(host);
            match wanted.binary_search_by(|known| known.host.cmp(host)) {
                Ok(place) => {
                    if let Some(known) = wanted.get_mut(place) {
                        known.refuses |= refuses;
                    }
                }
                Err(place) => wanted.insert(place, WantedName { host: host.clone(), source, refuses }),
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
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
        refusing.add_refused(&HostName::parse("a1").unwrap());
        let sections = [names("a", 3), names("b", 2), refusing];
        let wanted = wanted_names(sections.iter());
        let found: Vec<_> = wanted.iter().map(|name| (name.host.text(), name.source, name.refuses)).collect();
        let expected =
            [("a0", 0, false), ("a1", 0, true), ("a2", 0, false), ("b0", 1, false), ("b1", 1, false)];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_section_with_many_names_leaves_the_others_theirs() {
        let sections = [names("a", 5000), names("b", 10), names("c", 900)];
        let wanted = wanted_names(sections.iter());
        assert_eq!(["a", "b", "c"].map(|prefix| count_of(&wanted, prefix)), [507, 10, 507]);
        assert!(wanted.is_sorted_by(|a, b| a.host < b.host) && wanted.len() <= MAX_NAMES);
        assert!(wanted.iter().any(|name| name.host.text() == "a506"));
        let many: Vec<_> = (0..2000).map(|number| names(&format!("s{number}x"), 1)).collect();
        assert!(wanted_names(many.iter()).len() <= MAX_NAMES);
    }
}
