//! The kernel: what Xen boots. From the boot protocol to the loop.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::arch::global_asm;
use core::net::Ipv4Addr;
use core::panic::PanicInfo;
use ravelin::config::command_line::{CommandLine, ForcedCrash, Measurement};
use ravelin::guard::{RuleTable, ruleset};
use ravelin::journey::{Journey, Settings};
use ravelin::kernel::egress::{Egress, UplinkRoute};
use ravelin::kernel::{Firewall, measure};
use ravelin::store::{Nodes, Store, StoreRing};
use ravelin::xen::metal::{self, Boot};
use ravelin::xen::{DomainId, Shutdown, Xen};

global_asm!(include_str!("../boot/notes.s"));
global_asm!(include_str!("../boot/pv.s"));

#[unsafe(no_mangle)]
extern "C" fn kernel_main(start_info: *const xen_sys::start_info) -> ! {
    // SAFETY: called once, by the entry code, with what Xen passed.
    let boot = unsafe { metal::pv::boot(start_info) };
    let reason = forward(boot);
    log::info!("shutting down: {reason:?}");
    metal::shutdown(reason)
}

/// Configures the firewall and runs it to its end.
fn forward(boot: Boot) -> Shutdown {
    let Boot { mut xen, store, command_line, ramdisk, .. } = boot;
    let (major, minor) = boot.xen_version;
    log::info!(
        "ravelin {} on Xen {major}.{minor}: {} MiB of memory, {} pages for packets",
        env!("CARGO_PKG_VERSION"),
        boot.memory_bytes >> 20,
        xen.pages().total(),
    );
    let options = read_options(command_line);
    match options.debug {
        Some(ForcedCrash::Panic) => panic!("asked for by debug=panic"),
        // SAFETY: none: page zero is not mapped, which is the point.
        Some(ForcedCrash::PageFault) => unsafe {
            core::ptr::without_provenance_mut::<u64>(8).write_volatile(1)
        },
        None => {}
    }
    if let Some(Measurement::Copy) = options.measure {
        measure_copies(&mut xen, &Store::new(store));
        return Shutdown::PowerOff;
    }

    let route = match (options.ipv4, options.gateway) {
        (Some(address), Some(gateway)) => Some(UplinkRoute { address, gateway }),
        _ => {
            log::error!("without ipv4= and gateway= on the command line nothing goes to the uplink");
            None
        }
    };
    let uplink = route.map_or(Ipv4Addr::UNSPECIFIED, |route| route.address.address());
    let rules = read_rules(ramdisk, &options.dns);
    let entropy = xen.entropy();
    let mut settings = Settings {
        client_gateway: options.client_gateway.unwrap_or(uplink),
        uplink_prefix_bits: route.map_or(32, |route| route.address.length()),
        uplink_pings: options.uplink_pings,
        ..Settings::for_memory(boot.memory_bytes as u64, uplink)
    };
    options.limit_clients(&mut settings.quotas);
    log::info!("room for {} flows", settings.flows);
    let journey = Journey::boot(settings, rules, entropy, xen.now());
    let port = store.port();
    match Firewall::new(xen, Store::new(store), port, journey, Egress::new(route)) {
        Ok(mut firewall) => {
            let reason = firewall.run();
            firewall.report();
            reason
        }
        Err(error) => {
            log::error!("XenStore: {error}");
            Shutdown::Crash
        }
    }
}

fn measure_copies(xen: &mut impl Xen, store: &Store<impl StoreRing>) {
    let own = match store.wait_for(store.read_number("domid")) {
        Ok(number) => DomainId(number),
        Err(error) => return log::error!("measure: our own number is not known: {error}"),
    };
    match measure::copies(xen, own) {
        Ok(costs) => costs.iter().for_each(|cost| log::info!("measure: {cost}")),
        Err(why) => log::error!("measure: {why}"),
    }
}

fn read_options(text: Result<&str, core::str::Utf8Error>) -> CommandLine {
    let (options, errors) = match text {
        Ok(text) => CommandLine::parse(text),
        Err(error) => {
            log::error!("command line: {error}: all of it is ignored");
            (CommandLine::default(), Vec::new())
        }
    };
    for error in errors {
        log::error!("{error}");
    }
    log::set_max_level(options.log);
    options
}

fn read_rules(ramdisk: Option<&[u8]>, resolvers: &[Ipv4Addr]) -> RuleTable {
    let Some(file) = ramdisk else {
        log::info!("no rule file: clients may open connections to the uplink, nothing else is permitted");
        return RuleTable::allow_all();
    };
    let (rules, problems) = ruleset::read(file, resolvers);
    for problem in &problems.list {
        log::error!("{problem}");
    }
    if problems.omitted > 0 {
        log::error!("rules: {} more problems", problems.omitted);
    }
    log::info!("rules: {} bytes read", file.len());
    rules
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    metal::panic(info)
}
