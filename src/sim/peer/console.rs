//! The kernel's console in the simulation: its real ring, and a terminal that reads it, or does not.
//!
//! The `log` facade is one per process; each thread's messages go to the console of the machine that it runs.

use crate::base::time::Moment;
use crate::sim::cast::TERMINAL;
use crate::sim::machine::Machine;
use crate::sim::machine::world::{NextRun, Peer, SharedWorld, World};
use crate::xen::DomainId;
use crate::xen::abi::console::{OUT, OUT_BYTES, OUT_CONS, OUT_PROD};
use crate::xen::console::{Console, Written};
use crate::xen::host::HostFrame;
use crate::xen::meter::{Payer, charge};
use alloc::format;
use alloc::rc::Weak;
use core::cell::RefCell;
use core::time::Duration;
use log::{LevelFilter, Log, Metadata, Record};

/// What the reader of a console is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleReader {
    /// Reads at once.
    Prompt,
    /// Reads now and then.
    Rare,
    /// There is none.
    Nobody,
    /// Moves its index to where it cannot be.
    Scribbler,
}

std::thread_local! {
    static OPEN: RefCell<Option<(Console, Weak<RefCell<World>>)>> = const { RefCell::new(None) };
}

struct ConsoleLogger;

impl Log for ConsoleLogger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        OPEN.with(|place| {
            // Text that logs while it is formatted goes nowhere, as on the metal.
            let Ok(mut place) = place.try_borrow_mut() else { return };
            let Some((console, world)) = place.as_mut() else { return };
            let written = console.line(format_args!("{:<5} {}", record.level(), record.args()));
            let _world = charge(Payer::World);
            let world = world.upgrade();
            if let (Written::Notify, Some(Ok(mut world))) =
                (written, world.as_ref().map(|w| w.try_borrow_mut()))
            {
                world.machine.woken.insert(TERMINAL);
            }
        });
    }

    fn flush(&self) {}
}

/// Gives this thread's kernel a console; the ring's page, for a [`Terminal`].
pub fn open(shared: &SharedWorld) -> HostFrame {
    static LOGGER: ConsoleLogger = ConsoleLogger;
    // Refused when a test before has done it.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(LevelFilter::Debug);
    let machine = &mut shared.borrow_mut().machine;
    let ring = machine.take_frame();
    machine.memory.fill(ring, 0, 4096, 0);
    let start = machine.prng.bits() as u32;
    for offset in [OUT_CONS, OUT_PROD] {
        machine.memory.set_word(ring, offset, start);
    }
    let page = machine.memory.shared(ring).expect("a frame just taken");
    let open = (Console::new(page), alloc::rc::Rc::downgrade(shared));
    OPEN.with(|place| *place.borrow_mut() = Some(open));
    ring
}

/// Ends that.
pub fn close() {
    OPEN.with(|place| *place.borrow_mut() = None);
}

/// The other end of the console.
#[derive(Debug)]
pub struct Terminal {
    ring: HostFrame,
    reader: ConsoleReader,
    next: Moment,
}

impl Terminal {
    /// A reader of the console at `ring`.
    pub fn new(ring: HostFrame, reader: ConsoleReader) -> Self {
        Self { ring, reader, next: Moment::default() }
    }

    fn read(&self, machine: &mut Machine) {
        let (mut consumer, producer) =
            (machine.memory.word(self.ring, OUT_CONS), machine.memory.word(self.ring, OUT_PROD));
        let waiting = producer.wrapping_sub(consumer);
        if waiting > OUT_BYTES {
            return machine.violate("console", format!("{waiting} bytes wait in a ring of {OUT_BYTES}"));
        }
        for _ in 0..waiting {
            let mut byte = [0];
            machine.memory.read(self.ring, OUT + (consumer % OUT_BYTES) as usize, &mut byte);
            consumer = consumer.wrapping_add(1);
            machine.ledger.console_lines += u64::from(byte[0] == b'\n');
            if !matches!(byte[0], b'\r' | b'\n' | b'\t' | b' '..=b'~') {
                machine.violate("console", format!("byte {:#x} reaches the terminal", byte[0]));
            }
        }
        machine.memory.set_word(self.ring, OUT_CONS, consumer);
    }
}

impl Peer for Terminal {
    fn domain(&self) -> DomainId {
        TERMINAL
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        match self.reader {
            ConsoleReader::Prompt => self.read(machine),
            ConsoleReader::Nobody => {}
            ConsoleReader::Rare if machine.now < self.next => return NextRun::Until(self.next),
            ConsoleReader::Rare => {
                self.read(machine);
                self.next = machine.now + Duration::from_millis(machine.prng.between(10, 5000));
            }
            ConsoleReader::Scribbler => {
                let value = machine.prng.bits() as u32;
                machine.memory.set_word(self.ring, OUT_CONS, value);
            }
        }
        NextRun::Asleep
    }
}
