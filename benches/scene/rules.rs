//! A rule table, asked about one new flow at a time.

use ravelin::base::time::UnixSeconds;
use ravelin::guard::ruleset;
use ravelin::guard::{Answer, FlowRequest, RuleTable};
use std::fmt::Write;
use std::net::Ipv4Addr;

/// A table and where the next question goes.
pub struct Rules {
    table: RuleTable,
    at: u32,
    rules: u32,
    destination: fn(u32) -> u32,
    /// Questions that were answered with yes.
    pub accepted: u64,
}

/// The network that the n-th of many separate rules is about.
fn separate(n: u32) -> u32 {
    0x0B00_0000 + (n << 8)
}

/// The one address that all nested rules are around.
fn nested(_: u32) -> u32 {
    0x0B0B_0B0B
}

impl Rules {
    /// `rules` as people write them: a service of a network each.
    pub fn separate(rules: u32) -> Rules {
        Self::read(rules, separate, |n| (24, 1000 + n % 10, 1000 + n % 10))
    }

    /// `rules` made to be slow: all 33 networks around one address, and ranges of ports that overlap.
    pub fn nested(rules: u32) -> Rules {
        Self::read(rules, nested, |n| (32 - n % 33, n % 9_000, n % 9_000 + 1000))
    }

    /// Rules for the networks of `prefix bits` around `destination`, for ports `from` to `to`.
    fn read(rules: u32, destination: fn(u32) -> u32, parts: impl Fn(u32) -> (u32, u32, u32)) -> Rules {
        let mut text = String::from("[default]\n");
        for n in 0..rules {
            let (bits, first, last) = parts(n);
            let address = Ipv4Addr::from(destination(n));
            writeln!(text, "action=accept proto=tcp dstports={first}-{last} dst4={address}/{bits}").unwrap();
        }
        let (table, problems) = ruleset::read(text.as_bytes(), &[]);
        assert!(problems.list.is_empty());
        Rules { table, at: 0, rules, destination, accepted: 0 }
    }

    /// Asks about a flow to one of the destinations; half of the ports have a rule.
    pub fn ask(&mut self) {
        self.at = self.at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let rule = ((u64::from(self.at) * u64::from(self.rules)) >> 32) as u32;
        let port = if self.at & 0x1000 == 0 { 1000 + rule % 10 } else { 20_000 };
        let request = FlowRequest {
            source: Ipv4Addr::new(10, 137, 0, 11),
            destination: Ipv4Addr::from((self.destination)(rule)),
            protocol: 6,
            destination_port: Some(port as u16),
            icmp_type: None,
            now: UnixSeconds(0),
        };
        self.accepted += u64::from(self.table.outward(&request).answer == Answer::Accept);
    }
}
