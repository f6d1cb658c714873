//! From the entry of a PVH domain to a running platform: exceptions, hypercalls, memory, console, clock, grants, XenStore.

use super::memory::Memory;
use super::paging::{PageTables, TableMemory};
use super::start_info::{Start, StartMistake};
use super::{cpu, descriptors, xen_pages};
use crate::xen::XenError;
use crate::xen::abi::{
    HVM_PARAM_CONSOLE_EVTCHN, HVM_PARAM_CONSOLE_PFN, HVM_PARAM_STORE_EVTCHN, HVM_PARAM_STORE_PFN,
    XENMAPSPACE_GRANT_TABLE, XENMAPSPACE_SHARED_INFO,
};
use crate::xen::console::Console;
use crate::xen::grant::GrantTable;
use crate::xen::memory_map::Backing;
use crate::xen::metal::boot::{
    Boot, WINDOW_PAGES, collect_pages, grant_window, open_heap, peer_window, shared_page, xen_version,
};
use crate::xen::metal::crash::{boot_failed, halt};
use crate::xen::metal::frames::Frames;
use crate::xen::metal::image::{Image, Permission};
use crate::xen::metal::peer_window::{PeerWindow, Tables};
use crate::xen::metal::store_link::StoreLink;
use crate::xen::metal::{Metal, SHARED_INFO, instruction, logger, runstate};
use crate::xen::page::{PAGE_BYTES, SharedPage};
use crate::xen::store_ring::StoreBytes;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Why the platform does not come up.
enum BootError {
    Xen(XenError),
    Start(StartMistake),
    NoExecute,
    Memory,
    Window,
    Ring(usize),
}

impl From<XenError> for BootError {
    fn from(error: XenError) -> Self {
        Self::Xen(error)
    }
}

impl From<StartMistake> for BootError {
    fn from(mistake: StartMistake) -> Self {
        Self::Start(mistake)
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xen(error) => error.fmt(f),
            Self::Start(mistake) => mistake.fmt(f),
            Self::NoExecute => f.write_str("the CPU, as Xen shows it, cannot make pages not executable"),
            Self::Memory => f.write_str("too little memory"),
            Self::Window => f.write_str("memory map: no room for pages of others"),
            Self::Ring(address) => write!(f, "a ring of the toolstack's at {address:#x}, where none can be"),
        }
    }
}

/// Brings the platform up.
///
/// # Safety
/// Called once, first thing, with the address that Xen passed to the entry point.
pub unsafe fn boot(start_info: usize) -> Boot {
    logger::open_debug_port();
    // SAFETY: once, at boot: the entry code mapped everything writable.
    unsafe { descriptors::install() };
    let Some(xen) = cpu::xen_base() else { not_on_xen() };
    // SAFETY: as above, and before the first hypercall. The CPU is asked what it has before that, which serializes: it
    // executes what is written here.
    unsafe { instruction::patch(cpu::vm_call()) };
    // SAFETY: as this function's.
    unsafe { bring_up(start_info, xen) }.unwrap_or_else(|error| boot_failed(error))
}

/// Says so, and stops: there is nobody who could end the domain.
fn not_on_xen() -> ! {
    logger::report(format_args!("this is not Xen, and nothing else can run this image"));
    halt()
}

unsafe fn bring_up(start_info: usize, xen: u32) -> Result<Boot, BootError> {
    if !cpu::protect() {
        return Err(BootError::NoExecute);
    }
    // SAFETY: nothing uses page zero.
    unsafe { xen_pages::announce(xen) };
    let image = Image::linked();
    // SAFETY: the entry code's mapping is in force, and free memory has nothing of what is in use.
    let start = unsafe { Start::read(start_info, &image.range())? };
    let memory = Memory::of(&start, &image)?.ok_or(BootError::Memory)?;
    let console = xen_pages::ring(HVM_PARAM_CONSOLE_PFN, HVM_PARAM_CONSOLE_EVTCHN)?;
    let store = xen_pages::ring(HVM_PARAM_STORE_PFN, HVM_PARAM_STORE_EVTCHN)?;
    let window =
        start.map.hole(start.memory.end, (WINDOW_PAGES * PAGE_BYTES) as u64).ok_or(BootError::Window)?;
    let window = window as usize;

    // SAFETY: free memory, mapped writable by the entry code.
    let mut table_memory = unsafe { TableMemory::new(memory.tables()) };
    let rings = [console.address, store.address];
    let holes = memory.all.end..PageTables::REACH;
    let is_taken = |ring: &usize| (window..window + WINDOW_PAGES * PAGE_BYTES).contains(ring);
    if let Some(ring) = rings.into_iter().find(|ring| !holes.contains(ring) || is_taken(ring)) {
        return Err(BootError::Ring(ring));
    }
    let all = memory.all.clone();
    let tables = map_all(&image, all, rings, window, &mut table_memory).ok_or(BootError::Memory)?;
    // SAFETY: all memory that is in use is mapped, the image's parts with what each needs.
    unsafe { tables.activate() };

    let shared_info = add_page(&tables, XENMAPSPACE_SHARED_INFO, 0, window)?;
    SHARED_INFO.call_once(|| shared_info);
    runstate::register();
    // SAFETY: mapped for good; the toolstack's, outside our memory, and reached only this way.
    let [console_page, store_page] = rings.map(|address| unsafe { shared_page(address) });
    logger::open(Console::new(console_page?), console.port);
    tell_unused(&start, &memory.all);

    // SAFETY: free memory behind the tables, used for nothing else.
    let rest = unsafe { open_heap(table_memory.next()..memory.largest.end)? };
    let frames: Vec<u64> = (0..(memory.all.end / PAGE_BYTES) as u64).collect();
    let frames = Frames::new(frames.leak());
    let mut free = memory.others;
    free.push(rest);
    // SAFETY: free memory, mapped writable.
    let pages = unsafe { collect_pages(&free, frames) };

    let grants = grant_window(window).zip(0..);
    let grants = grants.map(|(address, index)| add_page(&tables, XENMAPSPACE_GRANT_TABLE, index, address));
    let grants = GrantTable::new(grants.collect::<Result<_, _>>()?);
    let page_table = tables.top;
    let peers = PeerWindow::new(peer_window(window), Tables::Ours(tables));
    Ok(Boot {
        xen: Metal::new(frames, grants, pages, peers),
        store: StoreLink::new(StoreBytes::new(store_page?), store.port),
        command_line: start.command_line.to_str(),
        ramdisk: start.ramdisk,
        page_table,
        memory_bytes: memory.all.len(),
        xen_version: xen_version(),
    })
}

/// Says so if there is memory that stays unused: what Xen has no pages for, and what is not in one piece with the image.
fn tell_unused(start: &Start, used: &Range<usize>) {
    let mapped = start.map.pages(Backing::Ram) as usize * PAGE_BYTES;
    if mapped > used.len() {
        log::info!("the memory map has {} MiB, of which {} MiB are used", mapped >> 20, used.len() >> 20);
    }
}

/// Maps the memory and the rings, and reserves the window. The tables can be changed for the window only.
fn map_all(
    image: &Image,
    memory: Range<usize>,
    rings: [usize; 2],
    window: usize,
    table_memory: &mut TableMemory,
) -> Option<PageTables> {
    let mut tables = PageTables::new(image, memory, table_memory)?;
    for ring in rings {
        tables.map(ring, Permission::Write, table_memory)?;
    }
    let first_table = tables.top;
    tables.reserve(window, WINDOW_PAGES, table_memory)?;
    tables.seal(first_table..table_memory.next(), window, WINDOW_PAGES)?;
    Some(tables)
}

/// Has Xen put one of its pages at an address of the window.
fn add_page(tables: &PageTables, space: u32, index: u64, address: usize) -> Result<SharedPage, XenError> {
    // SAFETY: the memory map has nothing there, and each address is used once.
    unsafe {
        xen_pages::add_to_physmap(space, index, address)?;
        tables.show(address);
        shared_page(address)
    }
}
