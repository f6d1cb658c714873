//! The simulated xenstored: a tree with owners, permissions, watches, transactions and quotas.
//!
//! Peers and the toolstack call it directly; the kernel speaks the wire protocol to it through its ring
//! page ([`daemon`]).

pub(crate) mod transaction;
pub(crate) mod tree;

use crate::sim::cast::STORE;
use crate::xen::DomainId;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use transaction::StoreTransaction;
use tree::{NodeChange, NodeTree};

/// Why a request fails: the text of the error reply.
pub type Errno = &'static str;

/// A watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreWatch {
    /// Who is told.
    pub domain: DomainId,
    /// What is watched, as it was given.
    pub path: String,
    /// How the watcher calls it.
    pub token: String,
}

/// Limits per unprivileged domain.
#[derive(Clone, Copy, Debug)]
pub struct StoreQuotas {
    /// Nodes it owns.
    pub nodes: usize,
    /// Watches.
    pub watches: usize,
    /// Open transactions.
    pub transactions: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
}

impl Default for StoreQuotas {
    /// The smaller ones of both daemons.
    fn default() -> Self {
        Self { nodes: 1000, watches: 100, transactions: 10, value_bytes: 2048 }
    }
}

/// The daemon's state.
#[derive(Debug, Default)]
pub struct StoreServer {
    tree: NodeTree,
    /// Limits in force.
    pub quotas: StoreQuotas,
    watches: Vec<StoreWatch>,
    /// Prefixes that peers want to be woken for.
    interests: Vec<(DomainId, String)>,
    woken: VecDeque<DomainId>,
    /// Events for connections: domain, path, token.
    pub(in crate::sim) fired: VecDeque<(DomainId, String, String)>,
    transactions: BTreeMap<(DomainId, u32), StoreTransaction>,
    last_transaction: u32,
    /// Changes so far: who has seen so many need not look again.
    pub changes: u64,
    /// Commits that are to fail without reason.
    pub spurious_conflicts: u32,
}

/// A domain's home in the tree.
pub fn home(domain: DomainId) -> String {
    format!("/local/domain/{}", domain.0)
}

/// The absolute form of a path that `domain` uses.
pub fn absolute(domain: DomainId, path: &str) -> String {
    if path.starts_with(['/', '@']) { path.to_string() } else { format!("{}/{path}", home(domain)) }
}

impl StoreServer {
    /// Makes a domain's home.
    pub fn introduce(&mut self, domain: DomainId) {
        for (name, owner) in [("", 0), ("/device", 0), ("/device/vif", 0), ("/control", domain.0)] {
            let path = format!("{}{name}", home(domain));
            self.create_as(&path, "", DomainId(owner), &[domain]);
        }
        let number = format!("{}", domain.0);
        self.create_as(&format!("{}/domid", home(domain)), &number, DomainId(0), &[domain]);
    }

    /// Forgets a domain's watches and transactions.
    pub fn release(&mut self, domain: DomainId) {
        self.watches.retain(|watch| watch.domain != domain);
        self.interests.retain(|(watcher, _)| *watcher != domain);
        self.transactions.retain(|(owner, _), _| *owner != domain);
    }

    /// The toolstack makes a node with the given owner and readers, and whatever parents are missing.
    pub fn create_as(&mut self, path: &str, value: &str, owner: DomainId, readers: &[DomainId]) {
        let mut changes = BTreeSet::new();
        self.tree.create(path, value.as_bytes(), owner, readers, &mut changes);
        self.announce(&changes);
    }

    /// Reads a value.
    pub fn read(&self, domain: DomainId, path: &str) -> Result<Vec<u8>, Errno> {
        self.tree.read(domain, &absolute(domain, path)).map(<[u8]>::to_vec)
    }

    /// Reads a value as text; nothing if it cannot be had.
    pub fn text(&self, domain: DomainId, path: &str) -> String {
        let bytes = self.read(domain, path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether a node exists.
    pub fn exists(&self, path: &str) -> bool {
        self.tree.exists(path)
    }

    /// Names of children.
    pub fn directory(&self, domain: DomainId, path: &str) -> Result<Vec<String>, Errno> {
        self.tree.directory(domain, &absolute(domain, path))
    }

    /// Writes a value, making the node if need be.
    pub fn write(&mut self, domain: DomainId, path: &str, value: &[u8]) -> Result<(), Errno> {
        let path = absolute(domain, path);
        if value.len() > self.quotas.value_bytes {
            return Err("E2BIG");
        }
        let mut changes = BTreeSet::new();
        self.tree.write(domain, &path, value, self.quotas.nodes, &mut changes)?;
        self.announce(&changes);
        Ok(())
    }

    /// Writes text.
    pub fn put(&mut self, domain: DomainId, path: &str, value: impl ToString) -> Result<(), Errno> {
        self.write(domain, path, value.to_string().as_bytes())
    }

    /// Removes a node and all below it.
    pub fn remove(&mut self, domain: DomainId, path: &str) -> Result<(), Errno> {
        let path = absolute(domain, path);
        let mut changes = BTreeSet::new();
        self.tree.remove(domain, &path, &mut changes)?;
        self.announce(&changes);
        Ok(())
    }

    /// Removes a node, then every parent that is left empty (libxl's `xs_path_cleanup`).
    pub fn clean_up(&mut self, path: &str) {
        let _ = self.remove(DomainId(0), path);
        let mut rest = path;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            let home = parent.matches('/').count() <= 3;
            let empty = self.directory(DomainId(0), parent).is_ok_and(|children| children.is_empty());
            if home || !empty {
                break;
            }
            let _ = self.remove(DomainId(0), parent);
            rest = parent;
        }
    }

    /// Sets a watch; it fires once at once.
    pub fn watch(&mut self, domain: DomainId, path: &str, token: &str) -> Result<(), Errno> {
        let watch = StoreWatch { domain, path: path.into(), token: token.into() };
        if self.watches.contains(&watch) {
            return Err("EEXIST");
        }
        if self.watches_of(domain) >= self.quotas.watches {
            return Err("E2BIG");
        }
        self.watches.push(watch);
        Ok(())
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, domain: DomainId, path: &str, token: &str) -> Result<(), Errno> {
        let watch = StoreWatch { domain, path: path.into(), token: token.into() };
        let place = self.watches.iter().position(|other| *other == watch).ok_or("ENOENT")?;
        self.watches.remove(place);
        Ok(())
    }

    /// Watches of a domain.
    pub fn watches_of(&self, domain: DomainId) -> usize {
        self.watches.iter().filter(|watch| watch.domain == domain).count()
    }

    /// All watches, to fire one for nothing.
    pub fn watches(&self) -> &[StoreWatch] {
        &self.watches
    }

    /// Nodes that a domain owns.
    pub fn nodes_of(&self, domain: DomainId) -> usize {
        self.tree.owned_by(domain)
    }

    /// Wakes a peer at every change below `path`.
    pub fn wake_for(&mut self, domain: DomainId, path: &str) {
        self.interests.push((domain, path.into()));
    }

    /// Ends that for one path.
    pub fn sleep_for(&mut self, domain: DomainId, path: &str) {
        self.interests.retain(|(watcher, watched)| *watcher != domain || watched != path);
    }

    /// The next peer to wake.
    pub fn next_woken(&mut self) -> Option<DomainId> {
        self.woken.pop_front()
    }

    /// Fires the watches of what changed.
    fn announce(&mut self, changes: &BTreeSet<NodeChange>) {
        self.changes += 1;
        self.woken.push_back(STORE);
        for change in changes {
            let path = change.path();
            for watch in &self.watches {
                let base = absolute(watch.domain, &watch.path);
                if path == base || tree::is_below(path, &base) {
                    let below = path.get(base.len()..).unwrap_or_default();
                    self.fired.push_back((
                        watch.domain,
                        format!("{}{below}", watch.path),
                        watch.token.clone(),
                    ));
                } else if matches!(change, NodeChange::Removed(_)) && tree::is_below(&base, path) {
                    self.fired.push_back((watch.domain, watch.path.clone(), watch.token.clone()));
                }
            }
            for (domain, base) in &self.interests {
                if path == base || tree::is_below(path, base) || tree::is_below(base, path) {
                    self.woken.push_back(*domain);
                }
            }
        }
    }
}
