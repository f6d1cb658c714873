//! A peer's pages, marked so that what was not sent can be recognised wherever it turns up.

use crate::sim::machine::grants::GrantUse;
use crate::sim::machine::kernel_domain::POISON;
use crate::sim::machine::{KERNEL, Machine};
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

/// The byte that fills what a domain does not send.
pub fn mark(domain: DomainId) -> u8 {
    0x80 | (domain.0 as u8 & 0x3f)
}

/// Whether a byte fills what somebody did not send.
pub fn is_mark(byte: u8) -> bool {
    byte == POISON || (0x80..=0xbf).contains(&byte)
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
