//! From the start info of a PV domain to a running platform: memory, traps, console, clock, grants, XenStore.

use super::paging::AddressSpace;
use super::trap;
use crate::xen::abi::{DOMID_SELF, GNTTABOP_SETUP_TABLE, GrantSetup};
use crate::xen::console::Console;
use crate::xen::event::Port;
use crate::xen::grant::GrantTable;
use crate::xen::metal::boot::{
    Boot, GRANT_FRAMES, WINDOW_PAGES, collect_pages, grant_window, open_heap, peer_window, shared_page,
    xen_version,
};
use crate::xen::metal::crash::boot_failed;
use crate::xen::metal::frames::Frames;
use crate::xen::metal::hypercall::grant_operations;
use crate::xen::metal::image::Image;
use crate::xen::metal::peer_window::{PeerWindow, Tables};
use crate::xen::metal::store_link::StoreLink;
use crate::xen::metal::{Metal, SHARED_INFO, logger, runstate};
use crate::xen::page::{PAGE_BYTES, SharedPage};
use crate::xen::store_ring::StoreBytes;
use crate::xen::{FrameNumber, XenError};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr::NonNull;
use xen_sys::start_info;

/// Brings the platform up.
///
/// # Safety
/// Called once, first thing, with the address that Xen passed to the entry point.
pub unsafe fn boot(start_info: usize) -> Boot {
    // SAFETY: Xen passes the address of the start info page, which stays as it is.
    let info = unsafe { &*(start_info as *const start_info) };
    // SAFETY: as this function's.
    unsafe { bring_up(info) }.unwrap_or_else(|error| boot_failed(error))
}

unsafe fn bring_up(info: &'static start_info) -> Result<Boot, XenError> {
    trap::install()?;
    runstate::register();
    let image = Image::linked();
    // SAFETY: once, at boot.
    let mut space = unsafe { AddressSpace::take_over(info, &image)? };
    let frames = space.frames();

    let window = space.reserve_window(WINDOW_PAGES)?;
    let shared_info = map_shared(&mut space, window, FrameNumber(info.shared_info >> 12))?;
    SHARED_INFO.call_once(|| shared_info);

    // SAFETY: a domU's start info has this variant.
    let console = unsafe { info.console.domU };
    let console_page = own_page(frames, FrameNumber(console.mfn))?;
    logger::open(Console::new(console_page), Port(console.evtchn));

    let [above, below] = space.free_memory(&image);
    // SAFETY: free memory, used for nothing else.
    let above = unsafe { open_heap(above)? };
    // SAFETY: free memory, mapped writable where it exists.
    let pages = unsafe { collect_pages(&[above, below], frames) };

    let grants = GrantTable::new(map_grant_table(&mut space, window)?);
    let peers = PeerWindow::new(peer_window(window), Tables::Xens);
    let store_page = own_page(frames, FrameNumber(info.store_mfn))?;
    Ok(Boot {
        xen: Metal::new(frames, grants, pages, peers),
        store: StoreLink::new(StoreBytes::new(store_page), Port(info.store_evtchn)),
        command_line: command_line(info).to_str(),
        ramdisk: ramdisk(info),
        page_table: info.pt_base as usize,
        memory_bytes: info.nr_pages as usize * PAGE_BYTES,
        xen_version: xen_version(),
    })
}

/// Maps `frame`, which Xen shares with us, at an address of the window.
fn map_shared(space: &mut AddressSpace, address: usize, frame: FrameNumber) -> Result<SharedPage, XenError> {
    space.map_window(address, frame)?;
    // SAFETY: just mapped, for good; nothing else has this address.
    unsafe { shared_page(address) }
}

/// A page of our own memory that the toolstack shares, by its frame.
fn own_page(frames: Frames, frame: FrameNumber) -> Result<SharedPage, XenError> {
    let address = frames.address_of(frame).ok_or(XenError(-14))?;
    // SAFETY: mapped for good; the toolstack put it outside all free memory, so it is reached only this way.
    unsafe { shared_page(address) }
}

/// Has Xen set up our grant table and maps it in the window.
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
    grant_window(window)
        .zip(frames)
        .map(|(address, frame)| map_shared(space, address, FrameNumber(frame)))
        .collect()
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
