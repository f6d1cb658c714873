//! The kernel: what Xen boots. From the boot protocol to the loop.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::global_asm;
use core::panic::PanicInfo;
use ravelin::xen::metal;
use ravelin::xen::{Shutdown, Xen};

global_asm!(include_str!("../boot/entry.s"));

#[unsafe(no_mangle)]
extern "C" fn kernel_main(start_info: *const xen_sys::start_info) -> ! {
    // SAFETY: called once, by the entry code, with what Xen passed.
    let boot = unsafe { metal::boot(start_info) };
    let mut xen = boot.xen;
    let (major, minor) = boot.xen_version;
    log::info!(
        "ravelin {} on Xen {major}.{minor}: {} KiB of memory, {} KiB heap, {} pages for packets",
        env!("CARGO_PKG_VERSION"),
        boot.memory_bytes / 1024,
        boot.heap_bytes / 1024,
        xen.pages().total(),
    );
    let until = xen.now() + core::time::Duration::from_secs(1);
    xen.wait(&[boot.store.port()], Some(until));
    log::info!("entropy {:?}", xen.entropy());
    if boot.command_line == Ok("fault") {
        unsafe { (8 as *mut u64).write_volatile(1) };
    }
    xen.shutdown(Shutdown::PowerOff);
    loop {}
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    metal::panic(info)
}
