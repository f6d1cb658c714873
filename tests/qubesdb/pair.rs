//! The daemon and the client with a ring of 4 KiB each way between them, and a record of what each must know.

use crate::random::Random;
use ravelin::qubes::{QubesDb, Update};
use ravelin::sim::peer::qubesdb_server::QubesDbServer;
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

/// The bytes of a ring.
pub const RING: usize = 4096;

/// The entries below a path, by the rest of theirs.
pub type Entries = BTreeMap<String, String>;

pub struct Pair {
    pub server: QubesDbServer,
    pub client: QubesDb,
    pub is_connected: bool,
    /// To the client.
    pub ring: VecDeque<u8>,
    /// What the client read and has not taken yet.
    read: VecDeque<u8>,
    /// What dom0 still does of what it began.
    pub acts: VecDeque<Act>,
    /// The rules of each source whenever a trigger told of them.
    complete: BTreeMap<Ipv4Addr, Vec<Entries>>,
    /// Which of them the client knows to be complete.
    known: BTreeMap<Ipv4Addr, usize>,
    /// Triggers that the client was told of.
    pub handled: BTreeMap<Ipv4Addr, u64>,
    pub dumps_taken: u64,
}

/// One thing that dom0 does.
pub enum Act {
    Write(String, String),
    Remove(String),
}

impl Pair {
    pub fn new(entries: Entries) -> Self {
        let entries = entries.into_iter().map(|(path, value)| (path, value.into_bytes())).collect();
        Self {
            server: QubesDbServer::new(entries),
            client: QubesDb::new(1 << 20),
            is_connected: false,
            ring: VecDeque::new(),
            read: VecDeque::new(),
            acts: VecDeque::new(),
            complete: BTreeMap::new(),
            known: BTreeMap::new(),
            handled: BTreeMap::new(),
            dumps_taken: 0,
        }
    }

    pub fn connect(&mut self) {
        self.server.connected();
        self.client.connected();
        self.is_connected = true;
    }

    /// The connection ends, as the daemon wants it or, if it may, as the client does.
    pub fn disconnect(&mut self) {
        self.client.disconnected();
        self.ring.clear();
        self.read.clear();
        self.is_connected = false;
    }

    pub fn client_closes(&mut self) {
        if self.is_connected && self.client.may_close() {
            self.server.closed();
            self.disconnect();
        }
    }

    /// Another daemon takes its place, which knows what dom0 writes at each start.
    pub fn restart(&mut self) {
        let ours = |path: &str| path.starts_with("/qubes-firewall-handled/") || path.starts_with("/dns/");
        let entries = self.server.entries().iter().filter(|(path, _)| !ours(path));
        self.server =
            QubesDbServer::new(entries.map(|(path, value)| (path.clone(), value.clone())).collect());
        self.disconnect();
    }

    /// dom0 goes on with what it does.
    pub fn act(&mut self) {
        match self.acts.pop_front() {
            Some(Act::Write(path, value)) => {
                let source = path.strip_prefix("/qubes-firewall/").and_then(|source| source.parse().ok());
                if let Some(source) = source {
                    let rules = self.rules(source);
                    self.complete.entry(source).or_default().push(rules);
                }
                self.server.write(&path, value.as_bytes());
            }
            Some(Act::Remove(path)) => drop(self.server.remove(&path)),
            None => {}
        }
    }

    /// The rules of a source that the daemon has.
    fn rules(&self, source: Ipv4Addr) -> Entries {
        below(self.server.entries(), &format!("/qubes-firewall/{source}/"))
    }

    /// The daemon moves some bytes into its ring, and the client reads some.
    pub fn feed_client(&mut self, count: usize) {
        let room = (RING - self.ring.len()).min(count);
        let output = self.server.output();
        let moved = room.min(output.len());
        self.ring.extend(output.drain(..moved));
        if self.is_connected {
            let read = count.min(self.ring.len());
            self.read.extend(self.ring.drain(..read));
        }
        self.take();
    }

    fn take(&mut self) {
        loop {
            let taken = self.client.take(self.read.make_contiguous()).expect("an honest daemon");
            self.read.drain(..taken);
            let updates: Vec<Update> = std::iter::from_fn(|| self.client.next_update()).collect();
            if taken == 0 && updates.is_empty() {
                break;
            }
            updates.into_iter().for_each(|update| self.updated(update));
        }
    }

    /// What the client says to be complete is what the daemon had at one of its triggers, or in a dump.
    fn updated(&mut self, update: Update) {
        match update {
            Update::Rules(source) => {
                let seen = rules_of(&self.client, source);
                let from = self.known.get(&source).copied().unwrap_or(0);
                let complete = self.complete.get(&source).map_or(&[][..], |complete| &complete[from..]);
                let at = complete.iter().position(|rules| *rules == seen);
                let at = at.unwrap_or_else(|| panic!("{source}: {seen:?} was never complete"));
                self.known.insert(source, from + at);
                *self.handled.entry(source).or_default() += 1;
                self.client.handled(source);
            }
            Update::Everything => {
                self.dumps_taken += 1;
                // One that came before the connection was lost may be older than the last.
                if self.dumps_taken == self.server.dumps {
                    assert_eq!(view(&self.client), expected(&self.server.dumped));
                }
            }
            Update::Settings => {}
        }
    }

    /// The client sends some bytes.
    pub fn feed_daemon(&mut self, count: usize) {
        let output = self.client.output();
        let bytes = output[..count.min(output.len())].to_vec();
        self.client.sent(bytes.len());
        self.server.receive(&bytes, RING - self.ring.len());
        assert_eq!((self.server.end(), self.server.reproaches()), (None, [].as_slice()));
    }

    /// Until nobody has anything to say.
    pub fn settle(&mut self) {
        while !self.acts.is_empty() {
            self.act();
        }
        if !self.is_connected {
            self.connect();
        }
        for _ in 0..100_000 {
            self.feed_client(RING);
            self.feed_daemon(RING);
            if self.ring.is_empty() && self.server.output().is_empty() && self.client.output().is_empty() {
                assert_eq!(view(&self.client), expected(self.server.entries()));
                return;
            }
        }
        panic!("they go on for ever");
    }
}

/// The entries below a path.
fn below(entries: &BTreeMap<String, Vec<u8>>, folder: &str) -> Entries {
    let entries = entries.iter().filter_map(|(path, value)| {
        Some((path.strip_prefix(folder)?.to_string(), String::from_utf8(value.clone()).unwrap()))
    });
    entries.collect()
}

fn rules_of(client: &QubesDb, source: Ipv4Addr) -> Entries {
    let rules = client.database().rules_of(source);
    rules.map(|rules| rules.map(|(name, value)| (name.into(), value.into())).collect()).unwrap_or_default()
}

/// What the client knows, in a form that the daemon's entries can be given as well.
pub fn view(client: &QubesDb) -> Entries {
    let database = client.database();
    let mut view = Entries::new();
    for source in database.rule_sources() {
        let rules = rules_of(client, source).into_iter();
        view.extend(rules.map(|(name, value)| (format!("/qubes-firewall/{source}/{name}"), value)));
    }
    for kind in [
        ravelin::qubes::ConfigKind::Base,
        ravelin::qubes::ConfigKind::Permit,
        ravelin::qubes::ConfigKind::Forward,
    ] {
        let lines = database.config_lines(kind);
        view.extend(lines.map(|(name, value)| (format!("/vm-config/{name}"), value.unwrap().into())));
    }
    let options = database.options();
    view.extend(options.map(|(name, value)| (format!("/vm-config/ravelin-{name}"), value.unwrap().into())));
    let mapped = database.mapped();
    view.extend(mapped.map(|(real, name, seen)| (format!("/mapped-ip/{real}/{name}"), seen.to_string())));
    let connected: Vec<_> = database.connected().map(|address| address.to_string()).collect();
    view.insert("/connected-ips".into(), connected.join(" "));
    let settings = database.settings();
    assert_eq!(settings.mistakes, []);
    let text = |address: Option<Ipv4Addr>| address.map_or(String::new(), |address| address.to_string());
    view.insert("/qubes-ip".into(), text(settings.address.map(|address| address.address())));
    view.insert("/qubes-gateway".into(), text(settings.gateway));
    view.retain(|_, value| !value.is_empty());
    view
}

/// What a client of a daemon with these entries must know. Rules without a policy are none.
pub fn expected(entries: &BTreeMap<String, Vec<u8>>) -> Entries {
    let mut expected = below(entries, "");
    let source = |path: &str| Some(path.strip_prefix("/qubes-firewall/")?.split_once('/')?.0.to_string());
    let with_policy: Vec<_> =
        expected.keys().filter(|path| path.ends_with("/policy")).filter_map(|path| source(path)).collect();
    expected.retain(|path, value| {
        let is_kept = match source(path) {
            Some(source) => with_policy.contains(&source) && source.parse::<Ipv4Addr>().is_ok(),
            None => {
                path.starts_with("/mapped-ip/")
                    || path.starts_with("/vm-config/ravelin-")
                    || ["/connected-ips", "/qubes-ip", "/qubes-gateway"].contains(&path.as_str())
            }
        };
        is_kept && !value.is_empty()
    });
    expected
}

/// What dom0 does to give a source other rules, as `reload_firewall_for_vm` of qubes/vm/mix/net.py does it.
pub fn reload(source: &str, random: &mut Random) -> Vec<Act> {
    let folder = format!("/qubes-firewall/{source}");
    let mut acts =
        vec![Act::Remove(format!("{folder}/")), Act::Write(format!("{folder}/policy"), "drop".into())];
    for number in 0..random.below(12) {
        if random.below(5) > 0 {
            let rule = format!(
                "action=accept dst4=10.0.{}.0/24 proto=tcp dstports=1-{}",
                number,
                random.below(65536)
            );
            acts.push(Act::Write(format!("{folder}/{number:04}"), rule));
        }
    }
    acts.push(Act::Write(folder, String::new()));
    acts
}
