//! Port 0xE9: Xen puts what is written to it into its own log (`xl dmesg`, with `guest_loglvl=all`), line by line. For
//! what is to be said before there is a console.

use core::arch::asm;
use core::fmt::{self, Write};

struct DebugPort;

impl Write for DebugPort {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the port does nothing but log; a PVH guest may use it.
            unsafe { asm!("out 0xe9, al", in("al") byte, options(nomem, nostack, preserves_flags)) };
        }
        Ok(())
    }
}

/// Writes a line.
pub fn line(text: fmt::Arguments<'_>) {
    // The port takes everything: only a formatting impl that fails by itself returns an error here.
    let _ = writeln!(DebugPort, "{text}");
}
