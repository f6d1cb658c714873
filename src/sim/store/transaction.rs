//! Transactions: a copy of the tree, what was touched, and a commit that fails if somebody else touched it.

use crate::sim::store::tree::{NodeChange, NodeTree};
use crate::sim::store::{Errno, StoreServer, absolute};
use crate::xen::DomainId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// What a transaction did, to be done again at commit.
#[derive(Clone, Debug)]
enum TransactionStep {
    Write(String, Vec<u8>),
    Remove(String),
}

/// An open transaction.
#[derive(Debug)]
pub struct StoreTransaction {
    tree: NodeTree,
    /// Nodes it looked at or changed, and their versions when it began.
    touched: BTreeMap<String, Option<u64>>,
    steps: Vec<TransactionStep>,
    begun_with: NodeTree,
}

impl StoreTransaction {
    fn touch(&mut self, path: &str) {
        let version = self.begun_with.version(path);
        self.touched.insert(path.into(), version);
    }
}

impl StoreServer {
    /// Begins a transaction.
    pub fn begin(&mut self, domain: DomainId) -> Result<u32, Errno> {
        let open = self.transactions.keys().filter(|(owner, _)| *owner == domain).count();
        if open >= self.quotas.transactions {
            return Err("ENOSPC");
        }
        self.last_transaction += 1;
        let transaction = StoreTransaction {
            tree: self.tree.clone(),
            touched: BTreeMap::new(),
            steps: Vec::new(),
            begun_with: self.tree.clone(),
        };
        self.transactions.insert((domain, self.last_transaction), transaction);
        Ok(self.last_transaction)
    }

    /// Abandons a transaction.
    pub fn abandon(&mut self, domain: DomainId, id: u32) -> Result<(), Errno> {
        self.transactions.remove(&(domain, id)).map(drop).ok_or("ENOENT")
    }

    /// Commits a transaction: all of it or, when somebody else changed what it touched, nothing.
    pub fn commit(&mut self, domain: DomainId, id: u32) -> Result<(), Errno> {
        let transaction = self.transactions.remove(&(domain, id)).ok_or("ENOENT")?;
        let unchanged = transaction.touched.iter().all(|(path, version)| self.tree.version(path) == *version);
        if self.spurious_conflicts > 0 || !unchanged {
            self.spurious_conflicts = self.spurious_conflicts.saturating_sub(1);
            return Err("EAGAIN");
        }
        let mut changes = BTreeSet::new();
        for step in transaction.steps {
            match step {
                TransactionStep::Write(path, value) => {
                    self.tree.write(domain, &path, &value, self.quotas.nodes, &mut changes)?;
                }
                TransactionStep::Remove(path) => self.tree.remove(domain, &path, &mut changes)?,
            }
        }
        self.announce(&changes);
        Ok(())
    }

    fn within(
        &mut self,
        domain: DomainId,
        id: u32,
        path: &str,
    ) -> Result<(&mut StoreTransaction, String), Errno> {
        let path = absolute(domain, path);
        let transaction = self.transactions.get_mut(&(domain, id)).ok_or("ENOENT")?;
        transaction.touch(&path);
        Ok((transaction, path))
    }

    /// Reads within a transaction.
    pub fn read_within(&mut self, domain: DomainId, id: u32, path: &str) -> Result<Vec<u8>, Errno> {
        let (transaction, path) = self.within(domain, id, path)?;
        transaction.tree.read(domain, &path).map(<[u8]>::to_vec)
    }

    /// Lists within a transaction.
    pub fn directory_within(&mut self, domain: DomainId, id: u32, path: &str) -> Result<Vec<String>, Errno> {
        let (transaction, path) = self.within(domain, id, path)?;
        transaction.tree.directory(domain, &path)
    }

    /// Writes within a transaction.
    pub fn write_within(&mut self, domain: DomainId, id: u32, path: &str, value: &[u8]) -> Result<(), Errno> {
        let quotas = self.quotas;
        if value.len() > quotas.value_bytes {
            return Err("E2BIG");
        }
        let (transaction, path) = self.within(domain, id, path)?;
        let mut ignored: BTreeSet<NodeChange> = BTreeSet::new();
        transaction.tree.write(domain, &path, value, quotas.nodes, &mut ignored)?;
        transaction.steps.push(TransactionStep::Write(path, value.to_vec()));
        Ok(())
    }

    /// Removes within a transaction.
    pub fn remove_within(&mut self, domain: DomainId, id: u32, path: &str) -> Result<(), Errno> {
        let (transaction, path) = self.within(domain, id, path)?;
        let mut ignored: BTreeSet<NodeChange> = BTreeSet::new();
        transaction.tree.remove(domain, &path, &mut ignored)?;
        transaction.steps.push(TransactionStep::Remove(path));
        Ok(())
    }
}
