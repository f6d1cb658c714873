//! Log lines to the console ring, stamped with the time since boot.

use super::clock_now;
use super::hypercall::operation;
use super::pvh::debug_port;
use crate::base::time::Moment;
use crate::xen::console::{Console, Written};
use crate::xen::event::Port;
use core::fmt;
use log::{LevelFilter, Log, Metadata, Record};
use spin::Mutex;
use xen_sys::{__HYPERVISOR_event_channel_op, EVTCHNOP_send, evtchn_send};

static LOGGER: Logger = Logger(Mutex::new(None));

struct Logger(Mutex<Option<Sink>>);

enum Sink {
    /// The toolstack's console.
    Console { console: Console, port: Port, boot: Moment },
    /// Xen's own log, as long as nothing else is there.
    DebugPort,
}

/// Sends log lines to Xen's log, until the console is open. Only in a PVH guest.
pub fn open_debug_port() {
    *LOGGER.0.lock() = Some(Sink::DebugPort);
}

/// Sends log lines to `console`, whose reader is notified through `port`.
pub fn open(console: Console, port: Port) {
    *LOGGER.0.lock() = Some(Sink::Console { console, port, boot: clock_now() });
    log::set_max_level(LevelFilter::Info);
    // Fails only when called twice; the first logger stays.
    let _ = log::set_logger(&LOGGER);
}

/// Writes a line of a crash report, even if the crash happened while a line was being written.
pub fn report(text: fmt::Arguments<'_>) {
    // SAFETY: one vCPU and no interrupts: whoever holds the lock was cut off by the crash and never goes on.
    unsafe { LOGGER.0.force_unlock() };
    if let Some(sink) = LOGGER.0.lock().as_mut() {
        // The reader may need a moment to make room: the last lines of a crash are worth a bounded wait.
        for _ in 0..100_000 {
            if sink.line(text) == Written::Notify {
                return;
            }
            super::yield_now();
        }
    }
}

impl Sink {
    fn line(&mut self, text: fmt::Arguments<'_>) -> Written {
        let Self::Console { console, port, boot } = self else {
            debug_port::line(text);
            return Written::Notify;
        };
        let since_boot = clock_now().since(*boot);
        let (seconds, micros) = (since_boot.as_secs(), since_boot.subsec_micros());
        let written = console.line(format_args!("[{seconds:5}.{micros:06}] {text}"));
        if written == Written::Notify {
            let mut send = evtchn_send { port: port.0 };
            // A console that nobody reads is no reason to stop.
            // SAFETY: the structure that this command takes.
            let _ = unsafe { operation(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &mut send) };
        }
        written
    }
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(sink) = self.0.lock().as_mut() {
            sink.line(format_args!("{:5} {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}
