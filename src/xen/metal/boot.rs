//! From Xen's start info to a running platform: memory, traps, console, clock, grants, XenStore.

use super::hypercall::{grant_operations, hypercall};
use super::logger;
use super::paging::{AddressSpace, Image};
use super::store_link::StoreLink;
use super::{Metal, SHARED_INFO, heap, runstate, shutdown, trap};
use crate::xen::abi::{DOMID_SELF, GNTTABOP_SETUP_TABLE, GrantSetup};
use crate::xen::console::Console;
use crate::xen::event::{Notices, Port};
use crate::xen::grant::GrantTable;
use crate::xen::page::{PAGE_BYTES, Page, PagePool, SharedPage};
use crate::xen::store_ring::StoreBytes;
use crate::xen::{FrameNumber, Shutdown, XenError};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr::NonNull;
use xen_sys::{__HYPERVISOR_xen_version, start_info};

/// Frames of the grant table: 512 references each. The uplink uses up to 514, the rest is room for a second
/// connection while a slow peer still holds pages of the first.
const GRANT_FRAMES: usize = 4;

/// Reserved addresses for pages of peers: two rings for each of 128 client vifs.
const MAP_SLOTS: usize = 256;

/// Share of the free memory that becomes heap (the flow table is on it); the rest are packet pages.
const HEAP_EIGHTHS: usize = 5;

/// A booted domain.
pub struct Boot {
    /// The hypervisor.
    pub xen: Metal,
    /// The way to xenstored.
    pub store: StoreLink,
    /// The kernel command line (`extra=` of xl.cfg), as far as it is UTF-8.
    pub command_line: Result<&'static str, core::str::Utf8Error>,
    /// The ramdisk, if the domain has one.
    pub ramdisk: Option<&'static [u8]>,
    /// Bytes of memory that the domain was given.
    pub memory_bytes: usize,
    /// Bytes of heap.
    pub heap_bytes: usize,
    /// Version of Xen: major, minor.
    pub xen_version: (u16, u16),
}

unsafe extern "C" {
    static image_text: u8;
    static image_rodata: u8;
    static image_data: u8;
    static stack_guard: u8;
}

/// Brings the platform up. A failure ends the domain: without memory or console there is no way to go on.
///
/// # Safety
/// Called once, first thing, with what Xen passed to the entry point.
pub unsafe fn boot(info: *const start_info) -> Boot {
    // SAFETY: Xen passes the address of the start info page, which stays as it is.
    let info: &'static start_info = unsafe { &*info };
    // SAFETY: as this function's.
    match unsafe { bring_up(info) } {
        Ok(boot) => boot,
        Err(error) => {
            logger::report(format_args!("CRASH at boot: {error}"));
            shutdown(Shutdown::Crash)
        }
    }
}

unsafe fn bring_up(info: &'static start_info) -> Result<Boot, XenError> {
    trap::install()?;
    runstate::register();
    let address = |symbol: *const u8| symbol.addr();
    let image = Image {
        text: address(&raw const image_text)..address(&raw const image_rodata),
        rodata: address(&raw const image_rodata)..address(&raw const image_data),
        stack_guard: address(&raw const stack_guard),
    };
    // SAFETY: once, at boot.
    let mut space = unsafe { AddressSpace::take_over(info, &image)? };

    let shared = space.reserve_window(1 + GRANT_FRAMES + MAP_SLOTS)?;
    space.map_window(shared, FrameNumber(info.shared_info >> 12))?;
    SHARED_INFO.call_once(|| window_page(shared));

    // SAFETY: a domU's start info has this variant.
    let console = unsafe { info.console.domU };
    let console_page = own_page(&space, FrameNumber(console.mfn))?;
    logger::open(Console::new(console_page), Port(console.evtchn));

    let [above, below] = space.free_memory(&image);
    let heap_bytes = (above.len() / 8 * HEAP_EIGHTHS).next_multiple_of(PAGE_BYTES);
    let heap_end = above.start + heap_bytes;
    // SAFETY: free memory, used for nothing else.
    if !unsafe { heap::open(above.start..heap_end) } {
        return Err(XenError(-12));
    }
    let pages = collect_pages(&space, [heap_end..above.end, below]);

    let grant_frames = map_grant_table(&mut space, shared + PAGE_BYTES)?;
    let first_slot = shared + (1 + GRANT_FRAMES) * PAGE_BYTES;
    let slots = (0..MAP_SLOTS).map(|slot| first_slot + slot * PAGE_BYTES).collect();

    let store_page = own_page(&space, FrameNumber(info.store_mfn))?;
    let store = StoreLink { ring: StoreBytes::new(store_page), port: Port(info.store_evtchn) };
    // SAFETY: version takes no argument and gives major << 16 | minor.
    let version = unsafe { hypercall(__HYPERVISOR_xen_version, [0]) }.unwrap_or(0);

    Ok(Boot {
        xen: Metal {
            space,
            grants: GrantTable::new(grant_frames),
            pages,
            slots,
            mappings: 0,
            ports: 0,
            notices: Notices::default(),
        },
        store,
        command_line: command_line(info).to_str(),
        ramdisk: ramdisk(info),
        memory_bytes: info.nr_pages as usize * PAGE_BYTES,
        heap_bytes,
        xen_version: ((version >> 16) as u16, version as u16),
    })
}

/// The shared page at an address of the window that was just mapped.
fn window_page(address: usize) -> SharedPage {
    // SAFETY: the window's pages are mapped for good, lie above zero, and are reached only this way.
    unsafe { SharedPage::from_raw(NonNull::new_unchecked(address as *mut _)) }
}

/// A page of our own memory that the toolstack shares, by its frame.
fn own_page(space: &AddressSpace, frame: FrameNumber) -> Result<SharedPage, XenError> {
    let address = space.address_of(frame).ok_or(XenError(-14))?;
    let start = NonNull::new(address as *mut _).ok_or(XenError(-14))?;
    // SAFETY: mapped for good; the toolstack put it outside all free memory, so it is reached only this way.
    Ok(unsafe { SharedPage::from_raw(start) })
}

fn collect_pages(space: &AddressSpace, memory: [core::ops::Range<usize>; 2]) -> PagePool {
    let mut pool = PagePool::with_capacity(memory.iter().map(|range| range.len() / PAGE_BYTES).sum());
    for address in memory.into_iter().flat_map(|range| range.step_by(PAGE_BYTES)) {
        let exists = space.frame(address).is_some_and(|frame| frame.0 != u64::MAX);
        if let (true, Some(start)) = (exists, NonNull::new(address as *mut _)) {
            // SAFETY: free memory, mapped writable, each page taken once.
            pool.add(unsafe { Page::from_raw(start) });
        }
    }
    pool
}

/// Has Xen set up our grant table and maps it from `window` on.
fn map_grant_table(space: &mut AddressSpace, window: usize) -> Result<Vec<SharedPage>, XenError> {
    let mut frames = [0u64; GRANT_FRAMES];
    let mut setup = GrantSetup {
        domain: DOMID_SELF,
        frames: GRANT_FRAMES as u32,
        status: -1,
        frame_list: frames.as_mut_ptr() as u64,
    };
    // SAFETY: one operation of that structure, with room for as many frames as it says.
    unsafe { grant_operations(GNTTABOP_SETUP_TABLE, core::slice::from_mut(&mut setup))? };
    if setup.status != 0 {
        return Err(XenError(setup.status.into()));
    }
    let mut pages = Vec::with_capacity(GRANT_FRAMES);
    for (index, frame) in frames.into_iter().enumerate() {
        let address = window + index * PAGE_BYTES;
        space.map_window(address, FrameNumber(frame))?;
        pages.push(window_page(address));
    }
    Ok(pages)
}

fn command_line(info: &'static start_info) -> &'static CStr {
    // SAFETY: the same bytes seen as u8.
    let bytes =
        unsafe { core::slice::from_raw_parts(info.cmd_line.as_ptr().cast::<u8>(), info.cmd_line.len()) };
    CStr::from_bytes_until_nul(bytes).unwrap_or(c"")
}

fn ramdisk(info: &'static start_info) -> Option<&'static [u8]> {
    let start = NonNull::new(info.mod_start as *mut u8)?;
    // SAFETY: the toolstack loaded the ramdisk there, outside all free memory; nobody changes it.
    (info.mod_len > 0).then(|| unsafe { core::slice::from_raw_parts(start.as_ptr(), info.mod_len as usize) })
}
