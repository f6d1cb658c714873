//! Rules of a scenario, twice: as a rule file for the kernel, and as a list that is read from the top.

use crate::sim::cast::FORBIDDEN;
use crate::sim::clock::Clock;
use crate::sim::prng::Prng;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// One line: refuses what matches, or accepts it.
#[derive(Clone, Copy, Debug)]
pub struct RuleLine {
    accepts: bool,
    network: Ipv4Addr,
    bits: u8,
    /// 6 or 17 with ports, or any protocol.
    service: Option<(u8, u16, u16)>,
    expiry: RuleExpiry,
}

impl RuleLine {
    /// All but when it ends.
    fn text(&self) -> String {
        let action = if self.accepts { "accept" } else { "drop" };
        let mask = if self.bits == 0 { 0 } else { u32::MAX << (32 - u32::from(self.bits)) };
        let network = Ipv4Addr::from_bits(self.network.to_bits() & mask);
        let mut text = format!("action={action} dst4={network}/{}", self.bits);
        if let Some((protocol, low, high)) = self.service {
            text += &format!(" proto={} dstports={low}-{high}", if protocol == 6 { "tcp" } else { "udp" });
        }
        text
    }
}

/// What every client's rules have.
const REFUSED: RuleLine =
    RuleLine { accepts: false, network: FORBIDDEN, bits: 24, service: None, expiry: RuleExpiry::None };

/// When a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleExpiry {
    None,
    /// It has ended, whatever the wall clock shows.
    Past,
    /// It has not, whatever the wall clock shows.
    Future,
}

/// The rules of all clients.
#[derive(Clone, Debug)]
pub struct SlowRules {
    lines: Vec<RuleLine>,
}

impl SlowRules {
    /// Rules that refuse one host and nothing else.
    pub fn open() -> Self {
        Self { lines: vec![REFUSED] }
    }

    /// Some rules that leave the scenario's services open.
    pub fn random(prng: &mut Prng, open: &[Ipv4Addr]) -> Self {
        let mut lines = Vec::new();
        for &host in open {
            for (protocol, port) in [(17, 7), (17, 53), (6, 80), (6, 8080)] {
                let service = Some((protocol, port, port));
                lines.push(RuleLine {
                    accepts: true,
                    network: host,
                    bits: 32,
                    service,
                    expiry: RuleExpiry::None,
                });
            }
        }
        lines.insert(prng.below(lines.len() as u64 + 1) as usize, REFUSED);
        for _ in 0..prng.below(20) {
            let low = prng.between(1, 65_000) as u16;
            let service = prng.chance(800).then(|| (*prng.pick(&[6, 17]), low, low + prng.below(500) as u16));
            let network = Ipv4Addr::from_bits(prng.bits() as u32);
            let bits = *prng.pick(&[0, 8, 16, 24, 32]);
            let service = if bits < 16 { service.or(Some((6, 23, 25))) } else { service };
            let expiry =
                *prng.pick(&[RuleExpiry::None, RuleExpiry::None, RuleExpiry::Past, RuleExpiry::Future]);
            lines.push(RuleLine { accepts: prng.chance(500), network, bits, service, expiry });
        }
        // What has expired must not matter, wherever it stands.
        for _ in 0..prng.below(3) {
            let (network, bits, service) = (Ipv4Addr::UNSPECIFIED, 0, None);
            let expired =
                RuleLine { accepts: prng.chance(500), network, bits, service, expiry: RuleExpiry::Past };
            lines.insert(prng.below(lines.len() as u64 + 1) as usize, expired);
        }
        Self { lines }
    }

    /// The rule file.
    pub fn file(&self) -> String {
        let mut text = String::from("[default]\npolicy=accept\n");
        for line in &self.lines {
            text += &line.text();
            match line.expiry {
                RuleExpiry::None => {}
                RuleExpiry::Past => text += &format!(" expire={}", Clock::ALWAYS_PAST),
                RuleExpiry::Future => text += &format!(" expire={}", Clock::NEVER_REACHED),
            }
            text += "\n";
        }
        text
    }

    /// The rules as dom0 numbers and writes them: those that have ended are left out.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, String)> {
        let lines = self.lines.iter().enumerate().filter(|(_, line)| line.expiry != RuleExpiry::Past);
        let all = (self.lines.len(), String::from("action=accept"));
        lines.map(|(number, line)| (number, line.text())).chain([all])
    }

    /// Whether a client may begin this.
    pub fn accept(&self, destination: Ipv4Addr, protocol: u8, port: Option<u16>) -> bool {
        for line in &self.lines {
            let bits = u32::from(line.bits);
            let same = line.network.to_bits() ^ destination.to_bits();
            let within = bits == 0 || same >> (32 - bits) == 0;
            let served = line.service.is_none_or(|(served, low, high)| {
                served == protocol && port.is_some_and(|port| (low..=high).contains(&port))
            });
            if within && served && line.expiry != RuleExpiry::Past {
                return line.accepts;
            }
        }
        true
    }
}
