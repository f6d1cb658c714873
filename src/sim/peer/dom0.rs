//! What qubesd does in dom0 while a firewall qube runs, by way of the QubesDB daemon: rules of clients that come late, are
//! written again, or are others; settings written once more; a daemon that ends, and another one that begins, also in the
//! midst of that; and one that sends what no daemon sends.
//!
//! Orders as in qubes/vm/mix/net.py of QubesOS/qubes-core-admin. What it gives to whom, and since when nothing older can be in
//! effect, it tells the model.

use super::qubesdb_daemon::{DaemonDesk, DaemonOrder, order_daemon};
use super::vchan_server::{BadIndex, FalseAnnouncement};
use crate::base::time::Moment;
use crate::sim::cast::{CLIENT_GATEWAY, FIREWALL, GATEWAY, SERVER, TOOLSTACK};
use crate::sim::machine::Machine;
use crate::sim::machine::world::{NextRun, Peer};
use crate::sim::oracle::rules::SlowRules;
use crate::xen::DomainId;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::Ipv4Addr;
use core::time::Duration;

/// What was on its way under earlier rules has left so long after they have ended.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Something that dom0 does.
#[derive(Clone, Debug)]
pub enum Dom0Act {
    /// The rules of a client are written, the first or others.
    Rules(Ipv4Addr, SlowRules),
    /// They are written again as they are.
    Again(Ipv4Addr),
    /// Everything is written again: at a change of the netvm, or when it was restarted.
    Everything,
    /// The daemon ends.
    Die,
    /// Another one begins. With an address it does so in the midst of writing that client's rules.
    Start(Option<Ipv4Addr>),
    /// What the daemon sends makes no sense.
    Attack(DaemonAttack),
}

/// What a hostile daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonAttack {
    /// Sends bytes at random.
    Bytes,
    /// Sends changes of entries that concern no client, without end.
    Flood,
    /// Moves an index of its ring to where it cannot be.
    Index,
    /// Announces what nobody serves.
    Announcement,
}

impl DaemonAttack {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bytes, Self::Flood, Self::Index, Self::Announcement];
}

/// What dom0 knows of a client's rules.
#[derive(Debug, Default)]
struct ClientState {
    rules: Option<SlowRules>,
    /// What the firewall had counted when the last trigger was written, until it counts that one.
    awaits: Option<Option<String>>,
    /// It has handled it, at this time.
    handled: Option<Moment>,
}

/// dom0.
pub struct Dom0 {
    desk: Rc<RefCell<DaemonDesk>>,
    acts: VecDeque<(Moment, Dom0Act)>,
    clients: BTreeMap<Ipv4Addr, ClientState>,
    has_daemon: bool,
}

impl Dom0 {
    /// Does `acts`, each at its time; clients have the rules of `clients` from the beginning.
    pub fn new(
        desk: Rc<RefCell<DaemonDesk>>,
        mut acts: Vec<(Moment, Dom0Act)>,
        clients: impl IntoIterator<Item = (Ipv4Addr, Option<SlowRules>)>,
    ) -> Self {
        acts.sort_by_key(|(at, _)| *at);
        let clients = clients.into_iter();
        let clients =
            clients.map(|(address, rules)| (address, ClientState { rules, ..ClientState::default() }));
        Self { desk, acts: acts.into(), clients: clients.collect(), has_daemon: true }
    }

    /// What a daemon has from its start.
    pub fn entries(&self) -> BTreeMap<String, Vec<u8>> {
        let mut entries: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let rules =
            self.clients.iter().filter_map(|(address, client)| Some((*address, client.rules.as_ref()?)));
        let rules = rules.flat_map(|(address, rules)| writes(address, rules));
        for (path, value) in settings(self.clients.keys()).into_iter().chain(rules) {
            entries.insert(path, value.into_bytes());
        }
        entries
    }

    fn order(&self, machine: &mut Machine, order: DaemonOrder) {
        order_daemon(&self.desk, machine, order);
    }

    fn counted(&self, address: Ipv4Addr) -> Option<String> {
        self.desk.borrow().text(&format!("/qubes-firewall-handled/{address}"))
    }

    /// `reload_firewall_for_vm`.
    fn write_rules(&mut self, machine: &mut Machine, address: Ipv4Addr, rules: SlowRules) {
        let counted = self.counted(address);
        let orders = writes(address, &rules).into_iter().map(|(path, value)| DaemonOrder::Write(path, value));
        self.order(machine, DaemonOrder::Remove(format!("/qubes-firewall/{address}/")));
        orders.for_each(|order| self.order(machine, order));
        self.give(machine, address, rules, counted);
    }

    /// These are the client's rules, and the daemon will say so.
    fn give(&mut self, machine: &mut Machine, address: Ipv4Addr, rules: SlowRules, counted: Option<String>) {
        if let Some(given) = &mut machine.model.given {
            given.give(address, rules.clone());
        }
        let client = self.clients.entry(address).or_default();
        (client.rules, client.handled) = (Some(rules), None);
        // Of several that are on their way nobody can say which was counted.
        client.awaits = (self.has_daemon && client.awaits.is_none()).then_some(counted);
    }

    fn act(&mut self, machine: &mut Machine, act: Dom0Act) {
        match act {
            Dom0Act::Rules(address, rules) => self.write_rules(machine, address, rules),
            Dom0Act::Again(address) => {
                if let Some(rules) = self.clients.get(&address).and_then(|client| client.rules.clone()) {
                    self.write_rules(machine, address, rules);
                }
            }
            Dom0Act::Everything => {
                for (path, value) in settings(self.clients.keys()) {
                    self.order(machine, DaemonOrder::Write(path, value));
                }
                let all: Vec<_> = self
                    .clients
                    .iter()
                    .filter_map(|(address, client)| Some((*address, client.rules.clone()?)))
                    .collect();
                all.into_iter().for_each(|(address, rules)| self.write_rules(machine, address, rules));
            }
            Dom0Act::Die => {
                self.forget_what_is_on_its_way();
                self.order(machine, DaemonOrder::Die);
            }
            Dom0Act::Start(midway) => self.start(machine, midway),
            Dom0Act::Attack(attack) => {
                self.forget_what_is_on_its_way();
                self.attack(machine, attack);
            }
        }
    }

    fn forget_what_is_on_its_way(&mut self) {
        self.has_daemon = false;
        self.clients.values_mut().for_each(|client| client.awaits = None);
    }

    /// A daemon is started. Those whose rules are in it for the first time have them from now on.
    fn start(&mut self, machine: &mut Machine, midway: Option<Ipv4Addr>) {
        let mut entries = self.entries();
        let mut rest = Vec::new();
        if let Some((address, rules)) =
            midway.and_then(|address| Some((address, self.clients.get(&address)?.rules.clone()?)))
        {
            // The policy and the first rules are there, and the others follow.
            let all = writes(address, &rules);
            let there = machine.prng.below(all.len() as u64) as usize;
            for (path, value) in all.into_iter().skip(1 + there) {
                entries.remove(&path);
                rest.push(DaemonOrder::Write(path, value));
            }
        }
        self.has_daemon = true;
        self.order(machine, DaemonOrder::Start(entries));
        rest.into_iter().for_each(|order| self.order(machine, order));
    }

    fn attack(&mut self, machine: &mut Machine, attack: DaemonAttack) {
        match attack {
            DaemonAttack::Bytes => {
                let count = machine.prng.between(1, 20_000) as usize;
                let bytes = machine.prng.bytes(count);
                self.order(machine, DaemonOrder::Nonsense(bytes));
            }
            DaemonAttack::Flood => {
                let bytes = flood(machine);
                self.order(machine, DaemonOrder::Nonsense(bytes));
            }
            DaemonAttack::Index => {
                let more = machine.prng.bits() as u32;
                let index =
                    if machine.prng.chance(500) { BadIndex::Written(more) } else { BadIndex::Read(more) };
                self.order(machine, DaemonOrder::BreakIndex(index));
            }
            DaemonAttack::Announcement => {
                let how = [FalseAnnouncement::Zero, FalseAnnouncement::Stale, FalseAnnouncement::Garbage];
                let how = *machine.prng.pick(&how);
                self.order(machine, DaemonOrder::AnnounceFalsely(how));
            }
        }
    }

    /// Notes which rules the firewall has taken up.
    fn look(&mut self, machine: &mut Machine) -> Option<Moment> {
        let now = machine.now;
        let mut next = None;
        for (address, client) in &mut self.clients {
            let path = format!("/qubes-firewall-handled/{address}");
            if client.awaits.as_ref().is_some_and(|before| self.desk.borrow().text(&path) != *before) {
                (client.awaits, client.handled) = (None, Some(now));
            }
            match client.handled {
                Some(handled) if handled + ON_ITS_WAY <= now => {
                    client.handled = None;
                    if let Some(given) = &mut machine.model.given {
                        given.settle(*address);
                    }
                }
                Some(handled) => next = next.into_iter().chain([handled + ON_ITS_WAY]).min(),
                None => {}
            }
        }
        next
    }
}

impl Peer for Dom0 {
    fn domain(&self) -> DomainId {
        TOOLSTACK
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        let settles = self.look(machine);
        if self.acts.front().is_some_and(|(at, _)| *at <= machine.now)
            && let Some((_, act)) = self.acts.pop_front()
        {
            self.act(machine, act);
            return NextRun::Again;
        }
        let next = self.acts.front().map(|(at, _)| *at);
        next.into_iter().chain(settles).min().map_or(NextRun::Asleep, NextRun::Until)
    }
}

/// What is written to give a client rules, the trigger last.
fn writes(address: Ipv4Addr, rules: &SlowRules) -> Vec<(String, String)> {
    let folder = format!("/qubes-firewall/{address}");
    let mut writes = vec![(format!("{folder}/policy"), "drop".to_string())];
    writes.extend(rules.numbered().map(|(number, rule)| (format!("{folder}/{number:04}"), rule)));
    writes.push((folder, String::new()));
    writes
}

/// `create_qdb_entries`, as far as it is of interest.
fn settings<'a>(clients: impl Iterator<Item = &'a Ipv4Addr>) -> Vec<(String, String)> {
    let connected: Vec<String> = clients.map(ToString::to_string).collect();
    let entries = [
        ("/name", "sys-ravelin".to_string()),
        ("/qubes-base-template", String::new()),
        ("/qubes-random-seed", "c29tZSByYW5kb20gYnl0ZXM=".to_string()),
        ("/qubes-netvm-gateway", CLIENT_GATEWAY.to_string()),
        ("/qubes-netvm-netmask", "255.255.255.255".to_string()),
        ("/qubes-netvm-primary-dns", "10.139.1.1".to_string()),
        ("/qubes-ip", FIREWALL.to_string()),
        // dom0 says /32. As in other scenarios, the uplink's network is to be one that can be scanned.
        ("/qubes-netmask", "255.255.255.0".to_string()),
        ("/qubes-gateway", GATEWAY.to_string()),
        ("/qubes-primary-dns", GATEWAY.to_string()),
        ("/qubes-secondary-dns", SERVER.to_string()),
        ("/connected-ips", connected.join(" ")),
        ("/qubes-service/meminfo-writer", "0".to_string()),
    ];
    entries.into_iter().map(|(path, value)| (path.to_string(), value)).collect()
}

/// Messages that change what concerns no client, and an end in the midst of one.
fn flood(machine: &mut Machine) -> Vec<u8> {
    let prng = &mut machine.prng;
    let mut bytes = Vec::new();
    for _ in 0..prng.between(1, 300) {
        let source = format!("/qubes-firewall/10.200.{}.{}", prng.below(4), prng.below(256));
        let path = match prng.below(4) {
            0 => source,
            1 => format!("{source}/policy"),
            2 => format!("{source}/{:04}", prng.below(10_000)),
            _ => format!("/x/{}", prng.below(1000)),
        };
        let (kind, value) = match prng.below(8) {
            0 => (4, 0),
            1 => (1, prng.below(3072) as usize),
            _ => (1, prng.below(100) as usize),
        };
        let mut header = [0; 72];
        header[0] = kind;
        header[1..][..path.len()].copy_from_slice(path.as_bytes());
        header[68..].copy_from_slice(&(value as u32).to_le_bytes());
        bytes.extend(header);
        bytes.extend(prng.bytes(value));
    }
    bytes.truncate(bytes.len() - prng.below(40) as usize);
    bytes
}
