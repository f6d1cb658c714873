//! A peer's pages, marked so that what was not sent can be recognised wherever it turns up.

use crate::sim::cast::KERNEL;
use crate::sim::machine::Machine;
use crate::sim::machine::grants::GrantUse;
use crate::sim::oracle::marks::mark;
use crate::xen::DomainId;
use crate::xen::host::HostFrame;
use crate::xen::page::PAGE_BYTES;

/// A page of a peer that the kernel may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The page.
    pub frame: HostFrame,
    /// Its grant.
    pub reference: u32,
}

impl Buffer {
    /// A marked page, granted to the kernel.
    pub fn new(machine: &mut Machine, owner: DomainId, purpose: GrantUse) -> Option<Self> {
        let frame = machine.take_frame();
        machine.memory.fill(frame, 0, PAGE_BYTES, mark(owner));
        match machine.peer_grant(owner, frame, KERNEL, purpose) {
            Some(reference) => Some(Self { frame, reference }),
            None => {
                machine.give_frame(frame);
                None
            }
        }
    }

    /// Ends the grant and gives the page back; a page in use stays where it is.
    pub fn free(self, machine: &mut Machine, owner: DomainId) -> bool {
        let ended = machine.peer_end_grant(owner, self.reference);
        if ended {
            machine.give_frame(self.frame);
        }
        ended
    }
}
