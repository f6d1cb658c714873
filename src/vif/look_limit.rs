//! How often the nodes of each client's domain are looked at in XenStore.
//!
//! A client may write into its own nodes as often as it likes, and every write is a watch event here.

use crate::base::time::Moment;
use crate::tables::allowance::{Allowance, Rate, Taken};
use crate::vif::per_domain::PerDomain;
use crate::xen::DomainId;

/// Looks at the nodes of one domain's vifs: at once, as many as the attaching of several vifs takes; in the long run,
/// so many that a client that connects notices no delay.
const LOOKS: Rate = Rate { per_second: 10, burst: 16 };

/// What every domain has left.
#[derive(Debug, Default)]
pub struct LookLimit {
    looks: PerDomain<Allowance>,
}

impl LookLimit {
    /// Whether the nodes of `domain` may be looked at now; that counts as a look.
    pub fn look(&mut self, domain: DomainId, now: Moment) -> Taken {
        self.looks.entry(domain, now, || Allowance::new(LOOKS), |_, _| {}).take(now)
    }

    /// When the nodes of `domain` may next be looked at.
    pub fn next_look(&self, domain: DomainId) -> Moment {
        self.looks.get(domain).map_or(Moment::default(), Allowance::next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const START: Moment = Moment::from_nanoseconds(1_000_000_000);
    const NOISY: DomainId = DomainId(7);

    fn looks(limit: &mut LookLimit, now: Moment) -> usize {
        (0..1000).filter(|_| limit.look(NOISY, now) == Taken::Granted).count()
    }

    #[test]
    fn a_domain_is_looked_at_a_few_times_at_once_and_then_ten_times_a_second() {
        let mut limit = LookLimit::default();
        assert_eq!(looks(&mut limit, START), 16);
        let next = limit.next_look(NOISY);
        assert!(next > START);
        assert_eq!(looks(&mut limit, next), 1);
        assert_eq!(looks(&mut limit, next + Duration::from_secs(1)), 10);
        assert_eq!(limit.look(DomainId(8), START), Taken::Granted);
    }
}
