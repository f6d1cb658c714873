//! What the engine counts.

use crate::base::drop_reason::DropCounts;
use crate::base::text::counts;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets dropped, by reason.
    pub dropped: DropCounts,
    /// Packets forwarded from a client to the uplink.
    pub outward: u64,
    /// Packets forwarded from the uplink to a client.
    pub inward: u64,
    /// Packets forwarded from one client to another, and pings answered.
    pub between: u64,
    /// Flows entered.
    pub opened: u64,
    /// Flows that were silent too long.
    pub expired: u64,
    /// Flows that gave way to a newer one, of the same account or of one that had less than its guaranteed part; and
    /// those ended besides because a limit was lowered.
    pub evicted: u64,
    /// Flows that ended because rules, our address on the uplink, or the clients that are attached changed.
    pub revoked: u64,
    /// ICMP errors and RSTs sent.
    pub answered: u64,
    /// ICMP errors and RSTs not sent because too many were.
    pub unanswered: u64,
}

impl Counters {
    /// Everything that was counted, for the console: a group to a line, of reasons for drops those that occurred. What
    /// passed comes last.
    pub fn lines(&self) -> Vec<String> {
        let Counters {
            dropped,
            outward,
            inward,
            between,
            opened,
            expired,
            evicted,
            revoked,
            answered,
            unanswered,
        } = self;
        let mut lines = counts("dropped:", dropped.occurred());
        lines
            .push(format!("flows: {opened} opened, {expired} expired, {evicted} evicted, {revoked} revoked"));
        lines.push(format!("errors and resets: {answered} answered, {unanswered} unanswered"));
        lines.push(format!("packets: {outward} outward, {inward} inward, {between} between clients"));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::drop_reason::DropReason;

    #[test]
    fn v_6_every_counter_is_on_a_line_that_the_console_takes_whole() {
        let mut dropped = DropCounts::default();
        DropReason::ALL.iter().for_each(|why| dropped.count(*why));
        let all = Counters {
            dropped,
            outward: 11,
            inward: 12,
            between: 13,
            opened: 14,
            expired: 15,
            evicted: 16,
            revoked: 17,
            answered: 18,
            unanswered: u64::MAX,
        };
        let lines = all.lines();
        assert!(lines.iter().all(|line| line.len() < 450), "{lines:?}");
        let text = lines.join("\n");
        let names = DropReason::ALL.iter().map(|why| format!("1 {}", why.name()));
        let shown = ["11 outward", "12 inward", "13 between", "14 opened", "15 expired", "16 evicted"];
        let more = ["17 revoked", "18 answered", "18446744073709551615 unanswered"];
        for expected in names.chain(shown.into_iter().chain(more).map(String::from)) {
            assert!(text.contains(&expected), "{expected} is missing:\n{text}");
        }
        assert_eq!(Counters::default().lines().len(), 3);
    }
}
