//! How much attention each client's domain gets: looks at its nodes, and lines about it on the console.
//!
//! A client may write into its own nodes as often as it likes, and every write is a watch event here. What it may
//! cause by that is counted on its domain, so it is not begun anew when a vif is detached and attached again.

use crate::base::time::Moment;
use crate::tables::allowance::{Allowance, Rate, Taken};
use crate::xen::DomainId;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use log::Level;

/// Looks at the nodes of one domain's vifs: as many at once as several attaches take, and then so many that nobody
/// who connects notices.
const LOOKS: Rate = Rate { per_second: 10, burst: 16 };

/// Lines about one domain in one [`WINDOW`].
const LINES: u32 = 10;

/// How long lines are counted before they may be as many again, and what was left out is said.
const WINDOW: Duration = Duration::from_secs(60);

/// Domains that are remembered: more than can have vifs here. Beyond, whoever needed attention longest ago is forgotten.
const MAX_DOMAINS: usize = 128;

/// What every domain has left.
#[derive(Debug, Default)]
pub struct Attention {
    known: Vec<LookBudget>,
}

#[derive(Debug)]
struct LookBudget {
    domain: DomainId,
    looks: Allowance,
    window: Moment,
    said: u32,
    left_out: u32,
    last: Moment,
}

impl Attention {
    /// Whether the nodes of `domain` may be looked at now; that counts as a look.
    pub fn look(&mut self, domain: DomainId, now: Moment) -> Taken {
        self.budget(domain, now).looks.take(now)
    }

    /// When the nodes of `domain` may next be looked at.
    pub fn next_look(&self, domain: DomainId) -> Moment {
        let known = self.known.iter().find(|budget| budget.domain == domain);
        known.map_or(Moment::default(), |budget| budget.looks.next())
    }

    /// Says something about `domain` on the console, unless enough was said already.
    pub fn say(&mut self, level: Level, domain: DomainId, now: Moment, what: fmt::Arguments<'_>) {
        let budget = self.budget(domain, now);
        if now >= budget.window + WINDOW {
            budget.open_window(now);
        }
        if budget.said < LINES {
            budget.said += 1;
            log::log!(level, "{what}");
        } else {
            budget.left_out = budget.left_out.saturating_add(1);
        }
    }

    /// Says how much was left out, when it is time.
    pub fn advance(&mut self, now: Moment) {
        for budget in &mut self.known {
            if budget.deadline().is_some_and(|due| due <= now) {
                budget.open_window(now);
            }
        }
    }

    /// When [`Self::advance`] has something to do.
    pub fn deadline(&self) -> Option<Moment> {
        self.known.iter().filter_map(LookBudget::deadline).min()
    }

    fn budget(&mut self, domain: DomainId, now: Moment) -> &mut LookBudget {
        let index = self.known.iter().position(|budget| budget.domain == domain).unwrap_or_else(|| {
            if self.known.len() >= MAX_DOMAINS
                && let Some(oldest) = (0..self.known.len()).min_by_key(|&index| self.known[index].last)
            {
                self.known.swap_remove(oldest).open_window(now);
            }
            self.known.push(LookBudget {
                domain,
                looks: Allowance::new(LOOKS),
                window: now,
                said: 0,
                left_out: 0,
                last: now,
            });
            self.known.len() - 1
        });
        let budget = &mut self.known[index];
        budget.last = now;
        budget
    }
}

impl LookBudget {
    fn deadline(&self) -> Option<Moment> {
        (self.left_out > 0).then(|| self.window + WINDOW)
    }

    /// Begins to count lines anew, and says how many were left out.
    fn open_window(&mut self, now: Moment) {
        if self.left_out > 0 {
            let seconds = now.since(self.window).as_secs();
            log::warn!(
                "domain {}: {} more lines about its vifs in {seconds} s were left out",
                self.domain.0,
                self.left_out
            );
        }
        (self.window, self.said, self.left_out) = (now, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_nanoseconds(1_000_000_000);
    const NOISY: DomainId = DomainId(7);

    fn looks(attention: &mut Attention, now: Moment) -> usize {
        (0..1000).filter(|_| attention.look(NOISY, now) == Taken::Granted).count()
    }

    #[test]
    fn a_domain_is_looked_at_a_few_times_at_once_and_then_ten_times_a_second() {
        let mut attention = Attention::default();
        assert_eq!(looks(&mut attention, START), 16);
        let next = attention.next_look(NOISY);
        assert!(next > START);
        assert_eq!(looks(&mut attention, next), 1);
        assert_eq!(looks(&mut attention, next + Duration::from_secs(1)), 10);
        assert_eq!(attention.look(DomainId(8), START), Taken::Granted);
    }

    #[test]
    fn what_is_left_out_is_counted_and_told_when_the_minute_is_over() {
        let mut attention = Attention::default();
        for _ in 0..100 {
            attention.say(Level::Info, NOISY, START, format_args!("connected"));
        }
        assert_eq!((attention.known[0].said, attention.known[0].left_out), (10, 90));
        assert_eq!(attention.deadline(), Some(START + WINDOW));
        attention.advance(START + WINDOW);
        assert_eq!((attention.known[0].said, attention.known[0].left_out), (0, 0));
        assert_eq!(attention.deadline(), None);
    }

    #[test]
    fn no_more_domains_are_remembered_than_there_is_room_for() {
        let mut attention = Attention::default();
        for number in 0..1000 {
            let now = START + Duration::from_secs(u64::from(number));
            attention.look(DomainId(number), now);
        }
        assert_eq!(attention.known.len(), MAX_DOMAINS);
        assert!(attention.known.iter().all(|budget| budget.domain.0 >= 1000 - MAX_DOMAINS as u16));
    }
}
