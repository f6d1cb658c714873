//! A value for each domain that was dealt with, for a bounded number of domains.
//!
//! What a client may cause is counted on its domain, so it is not begun anew when a vif is detached and attached again.

use crate::base::time::Moment;
use crate::xen::DomainId;
use alloc::vec::Vec;

/// Domains that are remembered: more than can have vifs here. Beyond, whoever was dealt with longest ago is forgotten.
pub const MAX_DOMAINS: usize = 128;

/// A value for each domain.
#[derive(Debug)]
pub struct PerDomain<T> {
    known: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    domain: DomainId,
    used: Moment,
    value: T,
}

impl<T> Default for PerDomain<T> {
    /// No domain is known.
    fn default() -> Self {
        Self { known: Vec::new() }
    }
}

impl<T> PerDomain<T> {
    /// The value of `domain`. If the domain is not known, `new` makes the value; if another domain has to be forgotten
    /// for that, `forget` gets its number and value.
    pub fn entry(
        &mut self,
        domain: DomainId,
        now: Moment,
        new: impl FnOnce() -> T,
        forget: impl FnOnce(DomainId, T),
    ) -> &mut T {
        let known = self.known.iter().position(|entry| entry.domain == domain);
        let index = known.unwrap_or_else(|| {
            if self.known.len() >= MAX_DOMAINS
                && let Some(oldest) = (0..self.known.len()).min_by_key(|&index| self.known[index].used)
            {
                let gone = self.known.swap_remove(oldest);
                forget(gone.domain, gone.value);
            }
            self.known.push(Entry { domain, used: now, value: new() });
            self.known.len() - 1
        });
        let entry = &mut self.known[index];
        entry.used = now;
        &mut entry.value
    }

    /// The value of `domain`, if it is known.
    pub fn get(&self, domain: DomainId) -> Option<&T> {
        self.known.iter().find(|entry| entry.domain == domain).map(|entry| &entry.value)
    }

    /// Every value with its domain.
    pub fn iter(&self) -> impl Iterator<Item = (DomainId, &T)> {
        self.known.iter().map(|entry| (entry.domain, &entry.value))
    }

    /// Every value with its domain.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (DomainId, &mut T)> {
        self.known.iter_mut().map(|entry| (entry.domain, &mut entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn no_more_domains_are_remembered_than_there_is_room_for() {
        let (mut all, mut forgotten) = (PerDomain::default(), Vec::new());
        for number in 0..1000 {
            let now = Moment::default() + Duration::from_secs(u64::from(number));
            all.entry(DomainId(number), now, || number, |domain, value| forgotten.push((domain, value)));
            // Whoever is dealt with again and again stays.
            all.entry(DomainId(0), now, || 7777, |_, _| panic!("it is known"));
        }
        assert_eq!(all.iter().count(), MAX_DOMAINS);
        assert_eq!(forgotten.len(), 1000 - MAX_DOMAINS);
        assert_eq!(forgotten[0], (DomainId(1), 1));
        assert_eq!(
            (all.get(DomainId(0)), all.get(DomainId(5)), all.get(DomainId(999))),
            (Some(&0), None, Some(&999))
        );
    }
}
