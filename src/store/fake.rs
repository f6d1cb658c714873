//! A xenstored in memory, for tests: a tree, watches, transactions, and the two byte rings.
//!
//! It answers only in [`FakeRing::wait`] or [`FakeXenstored::run`], moves at most a ring's worth of bytes at a
//! time, and commits a transaction only if nothing changed meanwhile.

use super::wire::{HEADER_BYTES, MAX_PAYLOAD_BYTES, MessageKind};
use super::{RingStatus, StoreRing, Timeout};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

/// Bytes that each ring holds.
const RING_BYTES: usize = 1024;

type FakeNodes = BTreeMap<String, Vec<u8>>;
type FakeReply = Result<Vec<u8>, &'static str>;

#[derive(Default)]
struct FakeDaemon {
    tree: FakeNodes,
    generation: u64,
    watches: Vec<(String, String)>,
    transactions: BTreeMap<u32, (u64, FakeNodes)>,
    last_transaction: u32,
    /// Bytes of requests; the last request may not be all there yet.
    requests: VecDeque<u8>,
    replies: VecDeque<u8>,
    ring: VecDeque<u8>,
    conflicts: usize,
    /// What is refused, with which error and how often.
    refusals: Vec<(String, &'static str, usize)>,
    asked: Vec<String>,
    silent: bool,
}

/// The daemon's side: what the toolstack and other domains do.
#[derive(Clone, Default)]
pub(crate) struct FakeXenstored(Rc<RefCell<FakeDaemon>>);

/// Our side: the ring to give to a [`super::Store`].
pub(crate) struct FakeRing(Rc<RefCell<FakeDaemon>>);

impl FakeXenstored {
    /// A connection for domain 1.
    pub(crate) fn ring(&self) -> FakeRing {
        FakeRing(self.0.clone())
    }

    /// Writes a node as another domain would, and fires watches.
    pub(crate) fn set(&self, path: &str, value: &str) {
        let mut daemon = self.0.borrow_mut();
        daemon.tree.insert(absolute(path), value.into());
        daemon.changed(&[absolute(path)].into());
    }

    /// Removes a subtree as another domain would, and fires watches.
    pub(crate) fn delete(&self, path: &str) {
        let mut daemon = self.0.borrow_mut();
        let path = absolute(path);
        remove(&mut daemon.tree, &path);
        daemon.changed(&[path].into());
    }

    /// A node's value.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let value = self.0.borrow().tree.get(&absolute(path)).cloned()?;
        Some(String::from_utf8(value).unwrap())
    }

    /// Lets the next commits fail.
    pub(crate) fn conflict(&self, times: usize) {
        self.0.borrow_mut().conflicts = times;
    }

    /// Refuses the next `times` requests that begin so, as in [`Self::asked`].
    pub(crate) fn refuse(&self, asked: &str, error: &'static str, times: usize) {
        self.0.borrow_mut().refusals.push((asked.into(), error, times));
    }

    /// Answers no more.
    pub(crate) fn fall_silent(&self) {
        self.0.borrow_mut().silent = true;
    }

    /// Puts bytes into the reply stream.
    pub(crate) fn inject(&self, bytes: &[u8]) {
        self.0.borrow_mut().replies.extend(bytes);
    }

    /// Transactions that have not ended.
    pub(crate) fn open_transactions(&self) -> usize {
        self.0.borrow().transactions.len()
    }

    /// Kinds and first arguments of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.borrow().asked.clone()
    }

    /// Answers the requests in the ring.
    pub(crate) fn run(&self) {
        self.0.borrow_mut().run();
    }
}

impl StoreRing for FakeRing {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut daemon = self.0.borrow_mut();
        let count = bytes.len().min(RING_BYTES - daemon.requests.len().min(RING_BYTES));
        daemon.requests.extend(&bytes[..count]);
        count
    }

    fn read(&mut self, bytes: &mut [u8]) -> usize {
        let mut daemon = self.0.borrow_mut();
        let count = bytes.len().min(daemon.ring.len());
        for (to, from) in bytes.iter_mut().zip(daemon.ring.drain(..count)) {
            *to = from;
        }
        count
    }

    fn status(&self) -> RingStatus {
        RingStatus { answered: self.0.borrow().ring.len() as u32, ..RingStatus::default() }
    }

    fn wait(&mut self) -> Result<(), Timeout> {
        let mut daemon = self.0.borrow_mut();
        daemon.run();
        if daemon.ring.is_empty() && daemon.silent { Err(Timeout) } else { Ok(()) }
    }
}

impl FakeDaemon {
    fn run(&mut self) {
        while let Some((kind, request, transaction, payload)) = self.next_request() {
            let reply = self.refusal().map_or_else(|| self.answer(kind, transaction, &payload), Err);
            let (kind, payload) = match reply {
                Ok(payload) if payload.len() > MAX_PAYLOAD_BYTES => (MessageKind::Error, b"E2BIG\0".to_vec()),
                Ok(payload) => (kind, payload),
                Err(error) => (MessageKind::Error, format!("{error}\0").into_bytes()),
            };
            self.reply(kind, request, &payload);
            if kind == MessageKind::Watch {
                let (path, token) = self.watches.last().cloned().unwrap();
                self.fire(&path, &token);
            }
        }
        let room = RING_BYTES - self.ring.len();
        let count = room.min(self.replies.len());
        self.ring.extend(self.replies.drain(..count));
    }

    /// How the last request is refused, if it is.
    fn refusal(&mut self) -> Option<&'static str> {
        let asked = self.asked.last()?;
        let refused =
            |(begins, _, times): &&mut (String, &str, usize)| *times > 0 && asked.starts_with(&**begins);
        let (_, error, times) = self.refusals.iter_mut().find(refused)?;
        *times -= 1;
        Some(error)
    }

    fn next_request(&mut self) -> Option<(MessageKind, u32, u32, Vec<u8>)> {
        if self.silent {
            return None;
        }
        let bytes = self.requests.make_contiguous();
        let header = bytes.get(..HEADER_BYTES)?;
        let word = |n: usize| u32::from_le_bytes(header[n * 4..n * 4 + 4].try_into().unwrap());
        let (kind, request, transaction, length) = (word(0), word(1), word(2), word(3) as usize);
        let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?.to_vec();
        self.requests.drain(..HEADER_BYTES + length);
        let kind = MessageKind::from_number(kind).unwrap();
        let path = String::from_utf8_lossy(payload.split(|&b| b == 0).next().unwrap()).into_owned();
        self.asked.push(format!("{kind:?} {path}"));
        Some((kind, request, transaction, payload))
    }

    fn reply(&mut self, kind: MessageKind, request: u32, payload: &[u8]) {
        for word in [kind.number(), request, 0, payload.len() as u32] {
            self.replies.extend(word.to_le_bytes());
        }
        self.replies.extend(payload);
    }

    fn fire(&mut self, path: &str, token: &str) {
        self.reply(MessageKind::WatchEvent, 0, format!("{path}\0{token}\0").as_bytes());
    }

    fn changed(&mut self, paths: &BTreeSet<String>) {
        self.generation += 1;
        for (watched, token) in self.watches.clone() {
            for path in paths {
                let base = absolute(&watched);
                if path == &base || path.starts_with(&format!("{base}/")) {
                    let below = &path[base.len()..];
                    self.fire(&format!("{watched}{below}"), &token);
                } else if base.starts_with(&format!("{path}/")) && !self.tree.contains_key(path) {
                    self.fire(&watched, &token);
                }
            }
        }
    }

    fn answer(&mut self, kind: MessageKind, transaction: u32, payload: &[u8]) -> FakeReply {
        let mut parts = payload.split(|&byte| byte == 0);
        let mut text = || String::from_utf8(parts.next().unwrap_or_default().to_vec()).unwrap();
        let (first, second) = (text(), text());
        let ok = || Ok(b"OK\0".to_vec());
        match kind {
            MessageKind::Watch if self.watches.contains(&(first.clone(), second.clone())) => Err("EEXIST"),
            MessageKind::Watch => {
                self.watches.push((first, second));
                ok()
            }
            MessageKind::Unwatch => {
                let place = self.watches.iter().position(|watch| watch == &(first.clone(), second.clone()));
                self.watches.remove(place.ok_or("ENOENT")?);
                ok()
            }
            MessageKind::TransactionStart => {
                self.last_transaction += 1;
                self.transactions.insert(self.last_transaction, (self.generation, self.tree.clone()));
                Ok(format!("{}\0", self.last_transaction).into_bytes())
            }
            MessageKind::TransactionEnd => self.end(transaction, &first),
            _ if transaction != 0 => {
                let (_, tree) = self.transactions.get_mut(&transaction).ok_or("EINVAL")?;
                on_tree(tree, kind, &absolute(&first), payload, &second).map(|(reply, _)| reply)
            }
            _ => {
                let (reply, changed) = on_tree(&mut self.tree, kind, &absolute(&first), payload, &second)?;
                if !changed.is_empty() {
                    self.changed(&changed);
                }
                Ok(reply)
            }
        }
    }

    fn end(&mut self, transaction: u32, decision: &str) -> FakeReply {
        let (generation, tree) = self.transactions.remove(&transaction).ok_or("ENOENT")?;
        if decision == "T" {
            if generation != self.generation || self.conflicts > 0 {
                self.conflicts = self.conflicts.saturating_sub(1);
                return Err("EAGAIN");
            }
            let old = core::mem::replace(&mut self.tree, tree);
            let paths: BTreeSet<_> = old.keys().chain(self.tree.keys()).cloned().collect();
            let changed: BTreeSet<_> =
                paths.into_iter().filter(|path| old.get(path) != self.tree.get(path)).collect();
            self.changed(&changed);
        }
        Ok(b"OK\0".to_vec())
    }
}

/// Carries a request out on a tree; which nodes changed.
fn on_tree(
    tree: &mut FakeNodes,
    kind: MessageKind,
    path: &str,
    payload: &[u8],
    argument: &str,
) -> Result<(Vec<u8>, BTreeSet<String>), &'static str> {
    let exists = |tree: &FakeNodes, path: &str| tree.keys().any(|key| key == path || is_below(key, path));
    let ok = b"OK\0".to_vec();
    let changed = BTreeSet::from([path.to_string()]);
    match kind {
        MessageKind::Read if exists(tree, path) => {
            Ok((tree.get(path).cloned().unwrap_or_default(), BTreeSet::new()))
        }
        MessageKind::Directory | MessageKind::DirectoryPart if exists(tree, path) => {
            let names: BTreeSet<&str> = tree
                .keys()
                .filter(|key| is_below(key, path))
                .filter_map(|key| key[path.len() + 1..].split('/').next())
                .collect();
            let list: Vec<u8> = names.iter().flat_map(|name| format!("{name}\0").into_bytes()).collect();
            if kind == MessageKind::Directory {
                return Ok((list, BTreeSet::new()));
            }
            let rest = &list[argument.parse::<usize>().unwrap()..];
            let cut = rest.len().min(MAX_PAYLOAD_BYTES - 10);
            let cut =
                if cut == rest.len() { cut } else { rest[..cut].iter().rposition(|&b| b == 0).unwrap() + 1 };
            let end: &[u8] = if cut == rest.len() { b"\0" } else { b"" };
            Ok(([b"42\0", &rest[..cut], end].concat(), BTreeSet::new()))
        }
        MessageKind::Write => {
            let value = payload.iter().position(|&byte| byte == 0).map(|end| payload[end + 1..].to_vec());
            tree.insert(path.to_string(), value.unwrap());
            Ok((ok, changed))
        }
        MessageKind::MakeDirectory if exists(tree, path) => Ok((ok, BTreeSet::new())),
        MessageKind::MakeDirectory => {
            tree.insert(path.to_string(), Vec::new());
            Ok((ok, changed))
        }
        MessageKind::Remove if exists(tree, path.rsplit_once('/').unwrap().0) => {
            remove(tree, path);
            Ok((ok, changed))
        }
        _ => Err("ENOENT"),
    }
}

fn remove(tree: &mut FakeNodes, path: &str) {
    tree.retain(|key, _| key != path && !is_below(key, path));
}

fn is_below(key: &str, path: &str) -> bool {
    key.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

fn absolute(path: &str) -> String {
    if path.starts_with(['/', '@']) { path.to_string() } else { format!("/local/domain/1/{path}") }
}
