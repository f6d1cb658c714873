//! The tree: nodes with values, owners and readers.

use crate::sim::store::Errno;
use crate::xen::DomainId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A change to announce.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeChange {
    /// Written or made.
    Written(String),
    /// Removed with all below it.
    Removed(String),
}

impl NodeChange {
    /// Where.
    pub fn path(&self) -> &str {
        match self {
            Self::Written(path) | Self::Removed(path) => path,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    value: Vec<u8>,
    owner: DomainId,
    readers: Vec<DomainId>,
    /// Changes with every write, also one of the same value.
    version: u64,
}

impl Node {
    fn allows_reading(&self, domain: DomainId) -> bool {
        self.allows_writing(domain) || self.readers.contains(&domain)
    }

    fn allows_writing(&self, domain: DomainId) -> bool {
        domain.0 == 0 || self.owner == domain
    }
}

/// All nodes, by absolute path.
#[derive(Clone, Debug, Default)]
pub struct NodeTree {
    nodes: BTreeMap<String, Node>,
    versions: u64,
}

/// Whether `path` lies below `base`.
pub fn is_below(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'))
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())
}

impl NodeTree {
    /// Whether a node exists.
    pub fn exists(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// What tells two states of a node apart: nothing if it does not exist.
    pub fn version(&self, path: &str) -> Option<u64> {
        self.nodes.get(path).map(|node| node.version)
    }

    /// Nodes that a domain owns.
    pub fn owned_by(&self, domain: DomainId) -> usize {
        self.nodes.values().filter(|node| node.owner == domain).count()
    }

    /// A value.
    pub fn read(&self, domain: DomainId, path: &str) -> Result<&[u8], Errno> {
        let node = self.nodes.get(path).ok_or("ENOENT")?;
        if node.allows_reading(domain) { Ok(&node.value) } else { Err("EACCES") }
    }

    /// Names of children.
    pub fn directory(&self, domain: DomainId, path: &str) -> Result<Vec<String>, Errno> {
        self.read(domain, path)?;
        let start = alloc::format!("{path}/");
        let below = self.nodes.range(start.clone()..).take_while(|(name, _)| name.starts_with(&start));
        let names = below.filter_map(|(name, _)| name.get(start.len()..));
        Ok(names.filter(|name| !name.contains('/')).map(ToString::to_string).collect())
    }

    fn insert(&mut self, path: &str, value: &[u8], owner: DomainId, readers: Vec<DomainId>) {
        self.versions += 1;
        let node = Node { value: value.to_vec(), owner, readers, version: self.versions };
        self.nodes.insert(path.to_string(), node);
        // A directory changes with its children.
        if let Some(above) = parent(path).and_then(|above| self.nodes.get_mut(above)) {
            above.version = self.versions;
        }
    }

    /// Makes a node as the toolstack does; parents that are missing belong to the toolstack.
    pub fn create(
        &mut self,
        path: &str,
        value: &[u8],
        owner: DomainId,
        readers: &[DomainId],
        changes: &mut BTreeSet<NodeChange>,
    ) {
        if let Some(above) = parent(path)
            && !self.exists(above)
        {
            let inherited = self.inherited(above, DomainId(0));
            self.create(above, b"", DomainId(0), &inherited.1, changes);
        }
        self.insert(path, value, owner, readers.to_vec());
        changes.insert(NodeChange::Written(path.to_string()));
    }

    /// Owner and readers of a node that `domain` makes.
    fn inherited(&self, path: &str, domain: DomainId) -> (DomainId, Vec<DomainId>) {
        let mut above = parent(path);
        while let Some(place) = above {
            if let Some(node) = self.nodes.get(place) {
                let owner = if domain.0 == 0 { node.owner } else { domain };
                return (owner, node.readers.clone());
            }
            above = parent(place);
        }
        (domain, Vec::new())
    }

    /// Writes a value; makes the node and its parents if need be.
    pub fn write(
        &mut self,
        domain: DomainId,
        path: &str,
        value: &[u8],
        quota: usize,
        changes: &mut BTreeSet<NodeChange>,
    ) -> Result<(), Errno> {
        self.versions += 1;
        let version = self.versions;
        if let Some(node) = self.nodes.get_mut(path) {
            if !node.allows_writing(domain) {
                return Err("EACCES");
            }
            node.value = value.to_vec();
            node.version = version;
        } else {
            let above = parent(path).ok_or("EINVAL")?;
            match self.nodes.get(above) {
                Some(node) if !node.allows_writing(domain) => return Err("EACCES"),
                Some(_) => {}
                None => self.write(domain, above, b"", quota, changes)?,
            }
            if domain.0 != 0 && self.owned_by(domain) >= quota {
                return Err("ENOSPC");
            }
            let (owner, readers) = self.inherited(path, domain);
            self.insert(path, value, owner, readers);
        }
        changes.insert(NodeChange::Written(path.to_string()));
        Ok(())
    }

    /// Removes a node and all below it. One that is absent under an existing parent counts as removed.
    pub fn remove(
        &mut self,
        domain: DomainId,
        path: &str,
        changes: &mut BTreeSet<NodeChange>,
    ) -> Result<(), Errno> {
        match self.nodes.get(path) {
            None if parent(path).is_some_and(|above| self.exists(above)) => return Ok(()),
            None => return Err("ENOENT"),
            Some(node) if !node.allows_writing(domain) => return Err("EACCES"),
            Some(_) => {}
        }
        self.nodes.retain(|name, _| name != path && !is_below(name, path));
        self.versions += 1;
        if let Some(above) = parent(path).and_then(|above| self.nodes.get_mut(above)) {
            above.version = self.versions;
        }
        changes.insert(NodeChange::Removed(path.to_string()));
        Ok(())
    }
}
