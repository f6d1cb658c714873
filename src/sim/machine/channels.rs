//! Event channels: ports, who is at their other end, pending bits.
//!
//! The kernel's pending bits lie in its shared info page, where it clears them itself; peers' are kept here.

use crate::xen::DomainId;
use crate::xen::page::SharedPage;
use alloc::collections::{BTreeMap, BTreeSet};
use core::mem::offset_of;
use xen_sys::shared_info;

/// Ports there can be (two-level ABI).
const MAX_PORTS: u32 = 4096;

const EINVAL: i64 = -22;
const ENOSPC: i64 = -28;
const ESRCH: i64 = -3;

/// What a port is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortState {
    /// Allocated for this domain to bind to, or left by it.
    Unbound(DomainId),
    /// Bound to a port of another domain.
    Interdomain(DomainId, u32),
}

/// All event channels.
#[derive(Debug, Default)]
pub struct EventChannels {
    ports: BTreeMap<(DomainId, u32), PortState>,
    pending: BTreeSet<(DomainId, u32)>,
    /// The domain whose bits lie in a shared info page.
    polling: Option<(DomainId, SharedPage)>,
    /// A bit of that domain went from 0 to 1 since this was last cleared.
    edge: Option<u32>,
}

impl EventChannels {
    /// Keeps the pending bits of `domain` in its shared info page.
    pub fn share(&mut self, domain: DomainId, page: SharedPage) {
        self.polling = Some((domain, page));
    }

    /// `EVTCHNOP_alloc_unbound`.
    pub fn allocate(&mut self, owner: DomainId, remote: DomainId) -> Result<u32, i64> {
        let port = (1..MAX_PORTS).find(|&port| !self.ports.contains_key(&(owner, port))).ok_or(ENOSPC)?;
        self.ports.insert((owner, port), PortState::Unbound(remote));
        Ok(port)
    }

    /// `EVTCHNOP_bind_interdomain`: the new port is pending at once.
    pub fn bind(&mut self, owner: DomainId, remote: DomainId, remote_port: u32) -> Result<u32, i64> {
        match self.ports.get(&(remote, remote_port)) {
            Some(&PortState::Unbound(expected)) if expected == owner => {}
            Some(_) => return Err(EINVAL),
            None => return Err(ESRCH),
        }
        let port = self.allocate(owner, remote)?;
        self.ports.insert((owner, port), PortState::Interdomain(remote, remote_port));
        self.ports.insert((remote, remote_port), PortState::Interdomain(owner, port));
        self.set_pending(owner, port);
        Ok(port)
    }

    /// `EVTCHNOP_close`: the other end becomes unbound.
    pub fn close(&mut self, owner: DomainId, port: u32) {
        if let Some(PortState::Interdomain(remote, remote_port)) = self.ports.remove(&(owner, port)) {
            self.ports.insert((remote, remote_port), PortState::Unbound(owner));
        }
        self.pending.remove(&(owner, port));
    }

    /// Closes every port of a domain.
    pub fn close_all(&mut self, owner: DomainId) {
        let ports: alloc::vec::Vec<u32> = self.ports_of(owner).collect();
        ports.into_iter().for_each(|port| self.close(owner, port));
    }

    /// The ports of a domain.
    pub fn ports_of(&self, owner: DomainId) -> impl Iterator<Item = u32> {
        self.ports.range((owner, 0)..=(owner, MAX_PORTS)).map(|(&(_, port), _)| port)
    }

    /// Whether somebody is at the other end of a port.
    pub fn is_bound(&self, owner: DomainId, port: u32) -> bool {
        matches!(self.ports.get(&(owner, port)), Some(PortState::Interdomain(..)))
    }

    /// `EVTCHNOP_send`: who is to be woken, if anybody is at the other end.
    pub fn send(&mut self, owner: DomainId, port: u32) -> Option<DomainId> {
        let &PortState::Interdomain(remote, remote_port) = self.ports.get(&(owner, port))? else {
            return None;
        };
        self.set_pending(remote, remote_port).then_some(remote)
    }

    /// Sets a pending bit; whether it was clear.
    fn set_pending(&mut self, owner: DomainId, port: u32) -> bool {
        match &self.polling {
            Some((domain, page)) if *domain == owner => {
                let (offset, bit) = place(port);
                let before = page.load(offset);
                page.store(offset, before | bit);
                let rises = before & bit == 0;
                if rises {
                    self.edge = Some(port);
                }
                rises
            }
            _ => self.pending.insert((owner, port)),
        }
    }

    /// Whether a port of the polling domain is pending.
    pub fn is_pending(&self, port: u32) -> bool {
        let (offset, bit) = place(port);
        self.polling.as_ref().is_some_and(|(_, page)| page.load(offset) & bit != 0)
    }

    /// Clears a pending bit of the polling domain.
    pub fn clear(&mut self, port: u32) {
        let (offset, bit) = place(port);
        if let Some((_, page)) = &self.polling {
            page.store(offset, page.load(offset) & !bit);
        }
    }

    /// Forgets earlier 0→1 transitions.
    pub fn clear_edge(&mut self) {
        self.edge = None;
    }

    /// Whether a bit of the polling domain went from 0 to 1 since then.
    pub fn edge(&self) -> bool {
        self.edge.is_some()
    }

    /// Takes a peer's pending bit.
    pub fn take(&mut self, owner: DomainId, port: u32) -> bool {
        self.pending.remove(&(owner, port))
    }
}

fn place(port: u32) -> (usize, u32) {
    (offset_of!(shared_info, evtchn_pending) + (port / 32 * 4) as usize, 1 << (port % 32))
}
