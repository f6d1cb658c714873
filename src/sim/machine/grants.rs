//! The hypervisor's side of grants: entries are checked, copies and maps done, statuses given.
//!
//! Status codes as in `xen/common/grant_table.c` (4.17): entries that are not for the caller, or not for
//! writing, give `GNTST_general_error`.

use crate::sim::cast::UPLINK;
use crate::sim::machine::{GrantMapping, Machine};
use crate::xen::DomainId;
use crate::xen::abi::{DOMID_SELF, GNTCOPY_DEST_GREF, GNTCOPY_SOURCE_GREF, GrantCopy, GrantCopySide};
use crate::xen::host::HostFrame;
use crate::xen::page::PAGE_BYTES;
use alloc::format;

/// `GNTST_okay`
pub const OKAY: i16 = 0;
/// `GNTST_general_error`
pub const GENERAL_ERROR: i16 = -1;
/// `GNTST_bad_domain`
pub const BAD_DOMAIN: i16 = -2;
/// `GNTST_bad_gntref`
pub const BAD_GNTREF: i16 = -3;
/// `GNTST_bad_handle`
pub const BAD_HANDLE: i16 = -4;
/// `GNTST_bad_page`
pub const BAD_PAGE: i16 = -9;
/// `GNTST_bad_copy_arg`
pub const BAD_COPY_ARG: i16 = -10;

const PERMIT_ACCESS: u32 = 1;
const READONLY: u32 = 4;
const READING: u32 = 8;
const WRITING: u32 = 0x10;

/// What a grant is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantUse {
    /// Its bytes are read.
    Read,
    /// Its bytes are written, or may be.
    Write,
}

impl Machine {
    fn entry(&self, granter: DomainId, reference: u32) -> Result<(HostFrame, usize), i16> {
        let domain = self.domains.get(&granter).ok_or(BAD_DOMAIN)?;
        let frame = domain.table.get((reference / 512) as usize).ok_or(BAD_GNTREF)?;
        Ok((*frame, (reference % 512) as usize * 8))
    }

    /// Checks that `user` may use a grant; the page.
    pub fn grant_page(
        &self,
        user: DomainId,
        granter: DomainId,
        reference: u32,
        purpose: GrantUse,
    ) -> Result<HostFrame, i16> {
        let (table, offset) = self.entry(granter, reference)?;
        let entry = self.memory.word(table, offset);
        if entry & 3 != PERMIT_ACCESS || entry >> 16 != u32::from(user.0) {
            return Err(GENERAL_ERROR);
        }
        if purpose == GrantUse::Write && entry & READONLY != 0 {
            return Err(GENERAL_ERROR);
        }
        let frame = HostFrame(self.memory.word(table, offset + 4));
        if frame.0 < self.memory.frames() { Ok(frame) } else { Err(BAD_PAGE) }
    }

    /// `GNTTABOP_map_grant_ref` with write access: handle and page.
    pub fn map_grant(
        &mut self,
        mapper: DomainId,
        granter: DomainId,
        reference: u32,
    ) -> Result<(u32, HostFrame), i16> {
        let frame = self.grant_page(mapper, granter, reference, GrantUse::Write)?;
        let (table, offset) = self.entry(granter, reference)?;
        let entry = self.memory.word(table, offset);
        self.memory.set_word(table, offset, entry | READING | WRITING);
        self.last_handle += 1;
        let handle = self.last_handle;
        self.mappings.insert(handle, GrantMapping { mapper, granter, reference, frame });
        Ok((handle, frame))
    }

    /// `GNTTABOP_unmap_grant_ref`.
    pub fn unmap_grant(&mut self, mapper: DomainId, handle: u32) -> i16 {
        match self.mappings.get(&handle) {
            Some(mapping) if mapping.mapper == mapper => {}
            _ => return BAD_HANDLE,
        }
        let Some(gone) = self.mappings.remove(&handle) else { return BAD_HANDLE };
        let still = self
            .mappings
            .values()
            .any(|mapping| mapping.granter == gone.granter && mapping.reference == gone.reference);
        if let (false, Ok((table, offset))) = (still, self.entry(gone.granter, gone.reference)) {
            let entry = self.memory.word(table, offset);
            self.memory.set_word(table, offset, entry & !(READING | WRITING));
        }
        OKAY
    }

    /// Mappings that `mapper` holds.
    pub fn mappings_of(&self, mapper: DomainId) -> usize {
        self.mappings.values().filter(|mapping| mapping.mapper == mapper).count()
    }

    /// `GNTTABOP_copy` by the kernel; local sides are addresses.
    pub fn copy_grants(&mut self, caller: DomainId, copies: &mut [GrantCopy]) {
        for copy in copies {
            copy.status = match self.copy_one(caller, copy) {
                Ok(()) => OKAY,
                Err(status) => status,
            };
            // A local side is an address of the host: no two runs have the same.
            let remote = if copy.flags & GNTCOPY_SOURCE_GREF != 0 { copy.source } else { copy.dest };
            self.note(&[5, remote.reference, u64::from(copy.len), copy.status as u64], || {
                format!(
                    "kernel copies {} bytes {} domain {} grant {} offset {}: status {}",
                    copy.len,
                    if copy.flags & GNTCOPY_SOURCE_GREF != 0 { "from" } else { "to" },
                    remote.domain,
                    remote.reference,
                    remote.offset,
                    copy.status
                )
            });
        }
    }

    fn copy_one(&mut self, caller: DomainId, copy: &GrantCopy) -> Result<(), i16> {
        let bytes = usize::from(copy.len);
        let beyond = |side: &GrantCopySide| usize::from(side.offset) + bytes > PAGE_BYTES;
        if beyond(&copy.source) || beyond(&copy.dest) {
            self.violate("copy-argument", format!("a copy beyond its page: {copy:?}"));
            return Err(BAD_COPY_ARG);
        }
        let source = self.side(caller, &copy.source, copy.flags & GNTCOPY_SOURCE_GREF, GrantUse::Read)?;
        let dest = self.side(caller, &copy.dest, copy.flags & GNTCOPY_DEST_GREF, GrantUse::Write)?;
        let (from, to) = (usize::from(copy.source.offset), usize::from(copy.dest.offset));
        self.memory.copy((source, from), (dest, to), bytes);
        Ok(())
    }

    fn side(
        &self,
        caller: DomainId,
        side: &GrantCopySide,
        is_grant: u16,
        purpose: GrantUse,
    ) -> Result<HostFrame, i16> {
        if is_grant != 0 {
            let reference = u32::try_from(side.reference).map_err(|_| BAD_GNTREF)?;
            self.grant_page(caller, DomainId(side.domain), reference, purpose)
        } else if side.domain == DOMID_SELF {
            self.memory.frame_at(side.reference as usize).ok_or(BAD_PAGE)
        } else {
            Err(BAD_DOMAIN)
        }
    }

    /// A peer lends one of its pages.
    pub fn peer_grant(
        &mut self,
        owner: DomainId,
        frame: HostFrame,
        to: DomainId,
        purpose: GrantUse,
    ) -> Option<u32> {
        let reference = self.domains.get_mut(&owner)?.free_references.pop()?;
        let access = if purpose == GrantUse::Read { READONLY } else { 0 };
        self.set_entry(owner, reference, PERMIT_ACCESS | access | u32::from(to.0) << 16, frame.0);
        Some(reference)
    }

    /// Writes an entry of a peer's table, whatever it means.
    pub fn set_entry(&mut self, owner: DomainId, reference: u32, flags: u32, frame: u32) {
        if let Ok((table, offset)) = self.entry(owner, reference) {
            self.memory.set_word(table, offset + 4, frame);
            self.memory.set_word(table, offset, flags);
        }
    }

    /// A peer ends a grant; whether nobody used it any more.
    pub fn peer_end_grant(&mut self, owner: DomainId, reference: u32) -> bool {
        let Ok((table, offset)) = self.entry(owner, reference) else { return true };
        if self.memory.word(table, offset) & (READING | WRITING) != 0 {
            return false;
        }
        self.memory.set_word(table, offset, 0);
        if let Some(domain) = self.domains.get_mut(&owner) {
            domain.free_references.push(reference);
        }
        true
    }

    /// Entries of a domain's table that are in force for `user`.
    pub fn grants_to(&self, owner: DomainId, user: DomainId) -> usize {
        let Some(domain) = self.domains.get(&owner) else { return 0 };
        let references = 8..domain.table.len() as u32 * 512;
        let in_force = references.filter(|&reference| {
            self.entry(owner, reference).is_ok_and(|(table, offset)| {
                let entry = self.memory.word(table, offset);
                entry & 3 == PERMIT_ACCESS && entry >> 16 == u32::from(user.0)
            })
        });
        in_force.count()
    }

    /// A peer copies out of a granted page of another domain; the bytes.
    pub fn peer_read(
        &self,
        user: DomainId,
        granter: DomainId,
        reference: u32,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), i16> {
        if offset + into.len() > PAGE_BYTES {
            return Err(BAD_COPY_ARG);
        }
        let frame = self.grant_page(user, granter, reference, GrantUse::Read)?;
        self.memory.read(frame, offset, into);
        Ok(())
    }

    /// A peer copies into a granted page of another domain; which frame that is.
    pub fn peer_write(
        &self,
        user: DomainId,
        granter: DomainId,
        reference: u32,
        offset: usize,
        bytes: &[u8],
    ) -> Result<HostFrame, i16> {
        if offset + bytes.len() > PAGE_BYTES {
            return Err(BAD_COPY_ARG);
        }
        let frame = self.grant_page(user, granter, reference, GrantUse::Write)?;
        self.memory.write(frame, offset, bytes);
        Ok(frame)
    }

    /// Every grant of the kernel's to the uplink: what the backend can reach at this moment.
    pub fn uplink_grants(&self, kernel: DomainId) -> usize {
        self.grants_to(kernel, UPLINK)
    }
}
