//! Whatever is said, in whatever order, what is in effect is what the text says.

use super::naive::Said;
use super::support::Random;
use ravelin::base::time::UnixSeconds;
use ravelin::config::command_line::CommandLine;
use ravelin::config::qube_rules::{ClientRules, FeatureLines, Scope};
use ravelin::config::rule_config::RuleConfig;
use ravelin::config::setting::Source;
use ravelin::config::{Change, ChangeQueue, Live};
use ravelin::guard::RuleTable;
use ravelin::guard::ruling::FlowRequest;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const TCP: u8 = 6;

/// Few of everything, so that rules and packets meet.
const PLACES: [&str; 6] =
    ["dst4=10.0.0.0/8", "dst4=192.0.2.1", "dst4=192.0.2.9/28", "dst4=0.0.0.0/0", "dsthost=example.org", ""];
const SERVICES: [&str; 8] = [
    "proto=tcp",
    "proto=udp dstports=50-60",
    "proto=tcp dstports=80-80",
    "proto=icmp icmptype=8",
    "specialtarget=dns",
    "specialtarget=dns proto=udp",
    "proto=icmp",
    "",
];
const WRONG: [&str; 7] = [
    "action=perhaps",
    "dst4=10.0.0.0/33",
    "proto=sctp",
    "dstports=9-8",
    "action=accept action=accept",
    "what",
    "proto=icmp dstports=1-2",
];
const HOSTS: [Ipv4Addr; 6] = [
    Ipv4Addr::new(10, 1, 2, 3),
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(192, 0, 2, 7),
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(10, 139, 1, 1),
    Ipv4Addr::new(10, 139, 1, 2),
];

fn client(number: u64) -> Ipv4Addr {
    Ipv4Addr::new(10, 137, 0, 2 + number as u8)
}

struct Trial {
    random: Random,
    said: Said,
    live: Live,
    table: RuleTable,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let live = Live::boot_qube(&CommandLine::default(), RuleConfig::None, 32 << 20);
        let (table, _) = live.compile_rules();
        Self { random: Random::new(seed), said: Said::default(), live, table }
    }

    /// A rule as qubesd or a person writes it, or might.
    fn rule(&mut self, places: &[&str]) -> String {
        let mut parts = [self.random.pick(places), self.random.pick(&SERVICES)].join(" ");
        if self.random.one_in(30) {
            parts += " ";
            parts += self.random.pick(&WRONG);
        }
        format!("action={} {parts}", self.random.pick(&["accept", "drop"])).trim().to_string()
    }

    /// The same with its parts in another order.
    fn shuffled(&mut self, rule: &str) -> String {
        let mut words: Vec<&str> = rule.split_whitespace().collect();
        if self.random.one_in(3) {
            self.random.shuffle(&mut words);
        }
        words.join(" ")
    }

    fn client_rules(&mut self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        let mut number = 0;
        for _ in 0..self.random.below(6) {
            number += 1 + self.random.below(3);
            let rule = self.rule(&PLACES);
            lines.push((format!("{number:04}"), self.shuffled(&rule)));
        }
        if !self.random.one_in(15) {
            let policy = self.random.pick(&["drop", "drop", "drop", "accept"]);
            lines.push(("policy".into(), policy.into()));
        }
        lines
    }

    fn permit(&mut self) -> String {
        let ends = ["10.137.0.2", "10.137.0.3", "10.137.0.0/24", "10.137.0.4/31", "0.0.0.0/0"];
        let (from, to) = (self.random.pick(&ends), self.random.pick(&ends));
        let from = if self.random.one_in(20) { "nobody" } else { from };
        format!("from={from} to={to} {}", self.rule(&[""]))
    }

    /// Forwards of a kind have no port in common: those are refused, which is for another test.
    fn forward(&mut self, first: u64) -> String {
        let last = first + self.random.below(8);
        format!(
            "proto=tcp dstports={first}-{last} to={}:{}",
            client(self.random.below(5)),
            1 + self.random.below(90)
        )
    }

    fn change(&mut self) {
        match self.random.below(10) {
            0..4 => {
                let who = client(self.random.below(5));
                let rules = self.client_rules();
                self.said.clients.insert(who, rules);
                self.tell_clients(Scope::These, &[who]);
            }
            4 => {
                let who = client(self.random.below(5));
                self.said.clients.remove(&who);
                self.tell_clients(Scope::These, &[who]);
            }
            5 => {
                self.said.clients.clear();
                for number in 0..5 {
                    if !self.random.one_in(3) {
                        let rules = self.client_rules();
                        self.said.clients.insert(client(number), rules);
                    }
                }
                let mut all: Vec<_> = self.said.clients.keys().copied().collect();
                self.random.shuffle(&mut all);
                self.tell_clients(Scope::All, &all);
            }
            6 => {
                let rule = self.rule(&PLACES);
                let line = if self.random.one_in(3) { String::new() } else { rule };
                self.said.base.insert(format!("base-{}", self.random.below(4)), line);
                let lines = self.said.base.clone();
                self.tell_lines(FeatureLines::Base, &lines);
            }
            7 => {
                let permit = self.permit();
                let line = if self.random.one_in(4) { " ".into() } else { permit };
                self.said.permits.insert(format!("permit-{}", self.random.below(4)), line);
                let lines = self.said.permits.clone();
                self.tell_lines(FeatureLines::Permit, &lines);
            }
            8 => {
                let slot = self.random.below(4);
                let line = if self.random.one_in(4) { String::new() } else { self.forward(100 + slot * 8) };
                self.said.forwards.insert(format!("forward-{slot}"), line);
                let lines = self.said.forwards.clone();
                self.tell_lines(FeatureLines::Forward, &lines);
            }
            _ => self.change_all(),
        }
    }

    /// Other resolvers, or another rule file.
    fn change_all(&mut self) {
        if self.random.one_in(2) {
            self.said.resolvers = HOSTS[4..4 + self.random.below(3) as usize].to_vec();
            let resolvers = Some(self.said.resolvers.iter().copied().collect());
            self.tell(|live, changes| live.set_resolvers(Source::QubesDb, resolvers, changes));
            return;
        }
        self.said.file_permits = (0..self.random.below(3)).map(|_| self.permit()).collect();
        let starts = [96, 110, 125];
        self.said.file_forwards = starts.map(|first| self.forward(first)).to_vec();
        let permits = self.said.file_permits.join("\n");
        let file = format!(
            "[default]\npolicy=accept\n[permit]\n{permits}\n[forward]\n{}\n",
            self.said.file_forwards.join("\n")
        );
        let rules = Some(RuleConfig::File(file.into_bytes().into()));
        self.tell(|live, changes| live.set_rules(Source::Toolstack, rules, changes));
    }

    fn tell(&mut self, act: impl FnOnce(&mut Live, &mut ChangeQueue)) {
        let mut changes = ChangeQueue::default();
        act(&mut self.live, &mut changes);
        while let Some(change) = changes.pop() {
            match change {
                Change::LiveRules(update, _) => self.table.update(*update),
                Change::Rules(mut table, _) => {
                    table.replace(&mut self.table);
                    self.table = *table;
                }
                // Only what asks for names is told of these.
                Change::Resolvers(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn tell_clients(&mut self, scope: Scope, clients: &[Ipv4Addr]) {
        let said = self.said.clients.clone();
        self.tell(|live, changes| {
            let rules = |who: &Ipv4Addr| match said.get(who) {
                Some(lines) => {
                    ClientRules::Lines(lines.iter().map(|(key, line)| (key.as_str(), line.as_str())))
                }
                None => ClientRules::None,
            };
            live.set_client_rules(scope, clients.iter().map(|who| (*who, rules(who))), changes);
        });
    }

    fn tell_lines(&mut self, kind: FeatureLines, lines: &BTreeMap<String, String>) {
        let lines: Vec<_> = lines.iter().map(|(name, line)| (name.as_str(), Some(line.as_str()))).collect();
        self.tell(|live, changes| live.set_lines(kind, lines.into_iter(), changes));
    }

    fn ask(&mut self) {
        let protocol = self.random.pick(&[1, 6, 17, 6, 17, 47]);
        let ports = matches!(protocol, 6 | 17);
        let asked = FlowRequest {
            source: client(self.random.below(6)),
            destination: self.random.pick(&HOSTS),
            protocol,
            destination_port: ports.then_some(self.random.pick(&[22, 53, 55, 80])),
            icmp_type: (protocol == 1).then_some(self.random.pick(&[8, 13])),
            now: UnixSeconds(1_000),
        };
        assert_eq!(
            self.table.outward(&asked).answer,
            self.said.outward(&asked),
            "{asked:?}\n{:#?}",
            self.said
        );
        let asked = FlowRequest { destination: client(self.random.below(6)), ..asked };
        assert_eq!(
            self.table.between(&asked).answer,
            self.said.between(&asked),
            "{asked:?}\n{:#?}",
            self.said
        );
        let port = 90 + self.random.below(60) as u16;
        let lead = self.table.port_forward(TCP, port).map(|lead| (*lead.to.ip(), lead.to.port()));
        assert_eq!(lead, self.said.lead(port), "{port}\n{:#?}", self.said);
    }
}

#[test]
fn what_is_in_effect_is_what_the_text_says_in_whatever_order_it_came() {
    for seed in 0..100 {
        let mut trial = Trial::new(seed);
        for _ in 0..60 {
            trial.change();
            (0..12).for_each(|_| trial.ask());
        }
    }
}
