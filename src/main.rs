//! The kernel: what Xen boots. From the boot protocol to the loop.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::{asm, global_asm};
use core::hint::black_box;
use core::mem::{ManuallyDrop, transmute};
use core::panic::PanicInfo;
use core::ptr::without_provenance_mut;
use log::Level;
use ravelin::config::Live;
use ravelin::config::command_line::{CommandLine, ForcedCrash, Measurement};
use ravelin::config::rule_config::RuleConfig;
use ravelin::engine::Engine;
use ravelin::guard::RuleTable;
use ravelin::kernel::event::Event;
use ravelin::kernel::qubesdb::QubesConnection;
use ravelin::kernel::{Firewall, event_log, measure};
use ravelin::store::{Nodes, Store, StoreError, StoreRing};
use ravelin::xen::metal::{self, Boot, Guest};
use ravelin::xen::page::PAGE_BYTES;
use ravelin::xen::{DomainId, Shutdown, Xen};

global_asm!(include_str!("../boot/notes.s"));
global_asm!(include_str!("../boot/trap.s"));
global_asm!(include_str!("../boot/pv.s"));
global_asm!(include_str!("../boot/pvh.s"));

/// Which sources these are, if `make` said so.
const COMMIT: &str = match option_env!("RAVELIN_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    _ => "not known",
};

/// Called by the entry code of each kind of guest, with the address of the start info that Xen passed.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(guest: Guest, start_info: usize) -> ! {
    // SAFETY: called once, by the entry code, with what Xen passed.
    let boot = unsafe { metal::boot(guest, start_info) };
    let reason = forward(boot);
    event_log::line(Level::Info, format_args!("shutting down: {reason:?}"));
    metal::shutdown(reason)
}

/// Configures the firewall and runs it to its end.
fn forward(boot: Boot) -> Shutdown {
    let Boot { mut xen, store: ring, command_line, ramdisk, .. } = boot;
    let (port, store) = (ring.port(), Store::new(ring));
    introduce(boot.xen_version, boot.memory_bytes, xen.pages().total());
    let options = read_options(command_line);
    if let Some(crash) = options.debug {
        crash_as(crash, boot.page_table);
    }
    if let Some(Measurement::Copy) = options.measure {
        measure_copies(&mut xen, &store);
        return Shutdown::PowerOff;
    }

    let memory_bytes = boot.memory_bytes as u64;
    let qubes = match QubesConnection::find(&store, memory_bytes) {
        Ok(qubes) => qubes,
        Err(error) => return fail(&error),
    };
    let rules = ramdisk.map_or(RuleConfig::None, |file| RuleConfig::File(file.into()));
    // Whether this is a qube is decided here: how much the engine may take depends on it.
    let boot_live = if qubes.is_announced() { Live::boot_qube } else { Live::boot };
    let live = boot_live(&options, rules, memory_bytes);
    if live.route().is_none() && !qubes.is_announced() {
        event_log::line(
            Level::Error,
            format_args!("without ipv4= and gateway= on the command line nothing goes to the uplink"),
        );
    }
    let rules = compile_rules(&live);
    let entropy = xen.entropy();
    let settings = live.settings();
    event_log::line(Level::Info, format_args!("room for {} flows", settings.flows));
    let engine = Engine::boot(settings, rules, entropy, xen.now());
    match Firewall::new(xen, store, port, live, engine, qubes) {
        Ok(firewall) => {
            // The domain ends with it: nothing is freed.
            let mut firewall = ManuallyDrop::new(firewall);
            let reason = firewall.run();
            firewall.report();
            reason
        }
        Err(error) => fail(&error),
    }
}

/// Says why nothing can be done without XenStore.
fn fail(error: &StoreError) -> Shutdown {
    event_log::line(Level::Error, format_args!("XenStore: {error}"));
    Shutdown::Crash
}

/// Says what runs, and where.
fn introduce((major, minor): (u16, u16), memory_bytes: usize, packet_pages: usize) {
    let build_id = metal::build_id().map_or_else(String::new, |id| format!(", build id {id}"));
    event_log::line(
        Level::Info,
        format_args!(
            "ravelin {} (commit {COMMIT}{build_id}) on Xen {major}.{minor}: {} MiB of memory, {packet_pages} pages for packets",
            env!("CARGO_PKG_VERSION"),
            memory_bytes >> 20,
        ),
    );
}

/// Crashes as the command line asks for, to see what that looks like.
fn crash_as(crash: ForcedCrash, page_table: usize) {
    /// An address that nothing is ever mapped at.
    const NOWHERE: usize = 0x7000_0000_0000;
    // `ret`, on the stack.
    let code = 0xc3u64;
    // SAFETY: none: each of these faults, which is the point.
    unsafe {
        match crash {
            ForcedCrash::Panic => panic!("asked for by debug=panic"),
            ForcedCrash::PageFault => without_provenance_mut::<u64>(NOWHERE).write_volatile(1),
            ForcedCrash::StackOverflow => event_log::line(Level::Info, format_args!("depth {}", overflow(0))),
            ForcedCrash::WriteText => (kernel_main as *mut u64).write_volatile(1),
            ForcedCrash::WritePageTable => {
                without_provenance_mut::<u64>(page_table + PAGE_BYTES / 2).write_volatile(0);
            }
            ForcedCrash::ExecuteData => transmute::<*const u64, extern "C" fn()>(&raw const code)(),
            ForcedCrash::Null => event_log::line(Level::Info, format_args!("found {}", read_null())),
        }
    }
}

/// Calls itself until the stack is used up.
#[expect(unconditional_recursion, reason = "so that the stack is used up")]
#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    overflow(black_box(depth + 1)) + frame[0]
}

/// Reads address zero: in assembly, as the compiler may do with a null pointer what it likes.
unsafe fn read_null() -> u64 {
    let found;
    // SAFETY: none: that page is not mapped.
    unsafe { asm!("mov {found}, [{null}]", found = out(reg) found, null = in(reg) 0u64, options(nostack)) };
    found
}

fn measure_copies(xen: &mut impl Xen, store: &Store<impl StoreRing>) {
    let own = match store.wait_for(store.read_number("domid")) {
        Ok(number) => DomainId(number),
        Err(error) => {
            return event_log::line(
                Level::Error,
                format_args!("measure: our own number is not known: {error}"),
            );
        }
    };
    match measure::copies(xen, own) {
        Ok(costs) => {
            costs.iter().for_each(|cost| event_log::line(Level::Info, format_args!("measure: {cost}")))
        }
        Err(why) => event_log::line(Level::Error, format_args!("measure: {why}")),
    }
}

fn read_options(text: Result<&str, core::str::Utf8Error>) -> CommandLine {
    let (options, errors) = match text {
        Ok(text) => CommandLine::parse(text),
        Err(error) => {
            event_log::line(Level::Error, format_args!("command line: {error}: all of it is ignored"));
            (CommandLine::default(), Vec::new())
        }
    };
    for error in errors {
        event_log::line(Level::Error, format_args!("{error}"));
    }
    log::set_max_level(options.log);
    options
}

fn compile_rules(live: &Live) -> RuleTable {
    let (rules, report) = live.compile_rules();
    event_log::write(&Event::RulesReplaced(Rc::new(report)));
    rules
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    metal::panic(info)
}
