//! From the start info of a PV domain to a running platform: memory, traps, console, clock, grants, XenStore.

use super::paging::AddressSpace;
use super::trap;
use crate::xen::abi::{DOMID_SELF, GNTTABOP_SETUP_TABLE, GrantSetup};
use crate::xen::console::Console;
use crate::xen::event::Port;
use crate::xen::grant::GrantTable;
use crate::xen::metal::boot::{
    Boot, GRANT_FRAMES, MAP_SLOTS, collect_pages, open_heap, shared_page, xen_version,
};
use crate::xen::metal::hypercall::grant_operations;
use crate::xen::metal::image::Image;
use crate::xen::metal::store_link::StoreLink;
use crate::xen::metal::{Metal, SHARED_INFO, logger, runstate, shutdown};
use crate::xen::page::{PAGE_BYTES, SharedPage};
use crate::xen::store_ring::StoreBytes;
use crate::xen::{FrameNumber, Shutdown, XenError};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr::NonNull;
use xen_sys::start_info;

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
    let image = Image::linked();
    // SAFETY: once, at boot.
    let mut space = unsafe { AddressSpace::take_over(info, &image)? };

    let shared = space.reserve_window(1 + GRANT_FRAMES + MAP_SLOTS)?;
    let shared_info = map_shared(&mut space, shared, FrameNumber(info.shared_info >> 12))?;
    SHARED_INFO.call_once(|| shared_info);

    // SAFETY: a domU's start info has this variant.
    let console = unsafe { info.console.domU };
    let console_page = own_page(&space, FrameNumber(console.mfn))?;
    logger::open(Console::new(console_page), Port(console.evtchn));

    let [above, below] = space.free_memory(&image);
    // SAFETY: free memory, used for nothing else.
    let above = unsafe { open_heap(above)? };
    let exists = |address| space.frame(address).is_some_and(|frame| frame.0 != u64::MAX);
    // SAFETY: free memory, mapped writable where it exists.
    let pages = unsafe { collect_pages([above, below], exists) };

    let grant_frames = map_grant_table(&mut space, shared + PAGE_BYTES)?;
    let first_slot = shared + (1 + GRANT_FRAMES) * PAGE_BYTES;
    let slots = (0..MAP_SLOTS).map(|slot| first_slot + slot * PAGE_BYTES).collect();

    let store_page = own_page(&space, FrameNumber(info.store_mfn))?;
    Ok(Boot {
        xen: Metal::new(space, GrantTable::new(grant_frames), pages, slots),
        store: StoreLink::new(StoreBytes::new(store_page), Port(info.store_evtchn)),
        command_line: command_line(info).to_str(),
        ramdisk: ramdisk(info),
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
fn own_page(space: &AddressSpace, frame: FrameNumber) -> Result<SharedPage, XenError> {
    let address = space.address_of(frame).ok_or(XenError(-14))?;
    // SAFETY: mapped for good; the toolstack put it outside all free memory, so it is reached only this way.
    unsafe { shared_page(address) }
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
    let addresses = (window..).step_by(PAGE_BYTES);
    addresses.zip(frames).map(|(address, frame)| map_shared(space, address, FrameNumber(frame))).collect()
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
