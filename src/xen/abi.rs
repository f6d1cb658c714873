//! Structures of Xen's public headers that the `xen-sys` crate lacks, as they lie in memory.
//!
//! Sizes and offsets were measured with a C compiler against the headers of Xen 4.17
//! (`xen/include/public/{grant_table,memory,io/console,io/xs_wire}.h`) and are asserted below, so a wrong
//! field cannot compile.

use core::mem::{offset_of, size_of};

/// One entry of a `GNTTABOP_copy` batch: at most one page, within one page on each side.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantCopy {
    /// Where bytes come from.
    pub source: GrantCopySide,
    /// Where bytes go.
    pub dest: GrantCopySide,
    /// Bytes to copy.
    pub len: u16,
    /// `GNTCOPY_source_gref` and `GNTCOPY_dest_gref`.
    pub flags: u16,
    /// Filled in by Xen: `GNTST_okay` (0) or a negative status.
    pub status: i16,
}

impl GrantCopy {
    /// The side that is ours: of a batch's copies, the one that no reference names.
    pub fn local_mut(&mut self) -> &mut GrantCopySide {
        if self.flags & GNTCOPY_SOURCE_GREF == 0 { &mut self.source } else { &mut self.dest }
    }
}

/// One side of a [`GrantCopy`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantCopySide {
    /// A grant reference, or the machine frame number of a page of our own.
    pub reference: u64,
    /// The granting domain, or `DOMID_SELF`.
    pub domain: u16,
    /// First byte within the page.
    pub offset: u16,
}

/// `VCPUOP_register_runstate_memory_area`: takes the address of a `vcpu_runstate_info` (`vcpu.h`).
pub const VCPUOP_REGISTER_RUNSTATE: u64 = 5;
/// Its size: the state, since when, and the time spent in each of four states.
pub const RUNSTATE_WORDS: usize = 6;
/// `state_entry_time`: Xen system time in nanoseconds.
pub const RUNSTATE_ENTRY_TIME: usize = 1;

/// `GNTCOPY_source_gref`: the source is a grant reference.
pub const GNTCOPY_SOURCE_GREF: u16 = 1;
/// `GNTCOPY_dest_gref`: the destination is a grant reference.
pub const GNTCOPY_DEST_GREF: u16 = 2;

/// Argument of `GNTTABOP_map_grant_ref`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantMap {
    /// In: PV: virtual address whose existing page-table entry Xen replaces (`GNTMAP_host_map`); PVH: physical address.
    pub host_address: u64,
    /// In: `GNTMAP_*`.
    pub flags: u32,
    /// In: the granting domain's reference.
    pub reference: u32,
    /// In: the granting domain.
    pub domain: u16,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// Out: names the mapping when it is unmapped.
    pub handle: u32,
    /// Out: bus address, unused.
    pub bus_address: u64,
}

/// `GNTMAP_host_map`: map into the caller's address space.
pub const GNTMAP_HOST_MAP: u32 = 2;

/// Argument of `GNTTABOP_unmap_grant_ref`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantUnmap {
    /// In: where it was mapped.
    pub host_address: u64,
    /// In: zero, no bus mapping was asked for.
    pub bus_address: u64,
    /// In: from [`GrantMap::handle`].
    pub handle: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
}

/// Argument of `GNTTABOP_setup_table`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantSetup {
    /// In: `DOMID_SELF`.
    pub domain: u16,
    /// In: frames wanted.
    pub frames: u32,
    /// Out: `GNTST_*`.
    pub status: i16,
    /// In: address of an array of `frames` machine frame numbers (u64), filled in by Xen.
    pub frame_list: u64,
}

/// Argument of `XENMEM_add_to_physmap` (`memory.h`): puts a page of Xen's at a physical address of ours.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct AddToPhysmap {
    /// In: `DOMID_SELF`.
    pub domain: u16,
    /// Unused.
    pub size: u16,
    /// In: `XENMAPSPACE_*`.
    pub space: u32,
    /// In: which page of that space.
    pub index: u64,
    /// In: the page number to put it at.
    pub frame: u64,
}

/// `XENMEM_current_reservation`: how many pages the domain of that number (u16) has now.
pub const XENMEM_CURRENT_RESERVATION: u32 = 3;
/// See [`AddToPhysmap`].
pub const XENMEM_ADD_TO_PHYSMAP: u32 = 7;
/// The shared info page.
pub const XENMAPSPACE_SHARED_INFO: u32 = 0;
/// Frames of the grant table, made when they are missing.
pub const XENMAPSPACE_GRANT_TABLE: u32 = 1;

/// Argument of `HVMOP_get_param` (`hvm/hvm_op.h`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct HvmParam {
    /// In: `DOMID_SELF`.
    pub domain: u16,
    /// In: `HVM_PARAM_*`.
    pub index: u32,
    /// Out: its value.
    pub value: u64,
}

/// See [`HvmParam`].
pub const HVMOP_GET_PARAM: u32 = 1;
/// Page number of the XenStore ring.
pub const HVM_PARAM_STORE_PFN: u32 = 1;
/// Our end of its event channel.
pub const HVM_PARAM_STORE_EVTCHN: u32 = 2;
/// Page number of the console ring.
pub const HVM_PARAM_CONSOLE_PFN: u32 = 17;
/// Our end of its event channel.
pub const HVM_PARAM_CONSOLE_EVTCHN: u32 = 18;

/// One call of a `multicall` (`xen.h`, `multicall_entry`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Multicall {
    /// In: the hypercall's number.
    pub number: u64,
    /// Out: what it returned.
    pub result: i64,
    /// In: its arguments.
    pub arguments: [u64; 6],
}

/// Commands of the `grant_table_op` hypercall.
pub const GNTTABOP_MAP: u32 = 0;
/// See [`GrantUnmap`].
pub const GNTTABOP_UNMAP: u32 = 1;
/// See [`GrantSetup`].
pub const GNTTABOP_SETUP_TABLE: u32 = 2;
/// See [`GrantCopy`].
pub const GNTTABOP_COPY: u32 = 5;

/// `DOMID_SELF`: the calling domain.
pub const DOMID_SELF: u16 = 0x7ff0;

/// Offsets in the console ring page (`struct xencons_interface`).
pub mod console {
    /// Output ring, written by the domain.
    pub const OUT: usize = 1024;
    /// Bytes in the output ring.
    pub const OUT_BYTES: u32 = 2048;
    /// Consumer index of the output ring (daemon).
    pub const OUT_CONS: usize = 3080;
    /// Producer index of the output ring (domain).
    pub const OUT_PROD: usize = 3084;
}

/// Offsets in the XenStore ring page (`struct xenstore_domain_interface`).
pub mod store {
    /// Request ring, written by the domain.
    pub const REQ: usize = 0;
    /// Response ring, written by xenstored.
    pub const RSP: usize = 1024;
    /// Bytes in either ring.
    pub const RING_BYTES: u32 = 1024;
    /// Consumer index of the request ring (xenstored).
    pub const REQ_CONS: usize = 2048;
    /// Producer index of the request ring (domain).
    pub const REQ_PROD: usize = 2052;
    /// Consumer index of the response ring (domain).
    pub const RSP_CONS: usize = 2056;
    /// Producer index of the response ring (xenstored).
    pub const RSP_PROD: usize = 2060;
    /// Why xenstored does not serve the domain any more (`XENSTORE_ERROR_*`; zero: it does).
    pub const ERROR: usize = 2072;
}

const _: () = {
    assert!(size_of::<GrantCopySide>() == 16);
    assert!(size_of::<GrantCopy>() == 40);
    assert!(offset_of!(GrantCopy, dest) == 16);
    assert!(offset_of!(GrantCopy, len) == 32);
    assert!(offset_of!(GrantCopy, flags) == 34);
    assert!(offset_of!(GrantCopy, status) == 36);
    assert!(size_of::<GrantMap>() == 32);
    assert!(offset_of!(GrantMap, reference) == 12);
    assert!(offset_of!(GrantMap, domain) == 16);
    assert!(offset_of!(GrantMap, status) == 18);
    assert!(offset_of!(GrantMap, handle) == 20);
    assert!(size_of::<GrantUnmap>() == 24);
    assert!(offset_of!(GrantUnmap, handle) == 16);
    assert!(offset_of!(GrantUnmap, status) == 20);
    assert!(size_of::<GrantSetup>() == 24);
    assert!(offset_of!(GrantSetup, frames) == 4);
    assert!(offset_of!(GrantSetup, status) == 8);
    assert!(offset_of!(GrantSetup, frame_list) == 16);
    assert!(size_of::<AddToPhysmap>() == 24);
    assert!(offset_of!(AddToPhysmap, space) == 4);
    assert!(offset_of!(AddToPhysmap, index) == 8);
    assert!(offset_of!(AddToPhysmap, frame) == 16);
    assert!(size_of::<HvmParam>() == 16);
    assert!(offset_of!(HvmParam, index) == 4);
    assert!(offset_of!(HvmParam, value) == 8);
    assert!(size_of::<Multicall>() == 64);
    assert!(offset_of!(Multicall, arguments) == 16);
    // The parts of xen-sys that are relied on.
    assert!(size_of::<xen_sys::start_info>() == 1168);
    assert!(offset_of!(xen_sys::start_info, pt_base) == 88);
    assert!(offset_of!(xen_sys::start_info, cmd_line) == 128);
    assert!(size_of::<xen_sys::shared_info>() == 3136);
    assert!(offset_of!(xen_sys::shared_info, evtchn_pending) == 2048);
    assert!(offset_of!(xen_sys::shared_info, wc_version) == 3072);
    assert!(size_of::<xen_sys::vcpu_time_info>() == 32);
    assert!(offset_of!(xen_sys::vcpu_info, time) == 32);
};
