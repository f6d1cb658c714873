//! The conversation with dom0's daemon: the whole database once per connection, then every change, and what we write.
//!
//! What ends the daemon, and what is done here about it:
//!
//! | it ends | therefore |
//! |---|---|
//! | on a type that it does not know, NOENT among them; on a value of 3072 bytes or more; on a path of other characters | there is one place that makes messages ([`super::message::header`]), with types from a list; paths are checked ([`super::path`]) |
//! | on a write to a path that does not begin with a slash, or ends with one; it cuts one longer than 63 | such entries are not written ([`super::written`]) |
//! | on a second request for the whole database | it is queued in [`QubesDb::connected`] and nowhere else |
//! | on a removal of what it does not have, or when the ring has no room for the answer just then | nothing is ever removed |
//! | on an OK, or an error, with a value: it takes the value for a message | answers have none |
//! | when we connect and close before it has read our request; possibly while it writes the dump | [`QubesDb::may_close`] |
//!
//! Each of its changes is answered with OK, as its own client does, whether or not we had the entry. When it does not read
//! its answers some are left out, which it does not notice.
//!
//! A dump is built aside and takes the place of what there was when it is complete. Without a connection everything stays
//! as it is.

use super::database::Database;
use super::fault::ProtocolFault;
use super::message::{DatabaseMessage, MessageReader, MessageType};
use super::path::{Meaning, TriggerSource, meaning};
use super::send_queue::SendQueue;
use super::written::WrittenEntries;
use alloc::boxed::Box;
use alloc::format;
use core::net::Ipv4Addr;

/// What is to be looked at anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Everything: the daemon has sent the whole database.
    Everything,
    /// The rules of a source: they are complete. Once they are in effect, [`QubesDb::handled`] is to be called.
    Rules(Ipv4Addr),
    /// A setting, a feature or a visible address.
    Settings,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionPhase {
    /// There is none.
    Closed,
    /// The database was asked for, and has not come entirely.
    Dump,
    /// It has come.
    Live,
}

/// One side of the conversation, over any number of connections.
#[derive(Debug)]
pub struct QubesDb {
    reader: MessageReader,
    session: Session,
}

/// All but the message that comes just now.
#[derive(Debug)]
struct Session {
    phase: ConnectionPhase,
    fault: Option<ProtocolFault>,
    /// The daemon has sent something since it was asked.
    has_answered: bool,
    /// What the request for the database has left to be sent.
    request_left: usize,
    database: Database,
    /// What a dump has brought so far.
    aside: Option<Box<Database>>,
    output: SendQueue,
    written: WrittenEntries,
    /// Something that we wrote was not answered yet.
    waits: bool,
    settings_changed: bool,
    update: Option<Update>,
}

impl QubesDb {
    /// Nothing is known. Databases may take `budget_bytes` each: the one in effect, and while a dump comes one more.
    pub fn new(budget_bytes: usize) -> Self {
        Self {
            reader: MessageReader::new(),
            session: Session {
                phase: ConnectionPhase::Closed,
                fault: None,
                has_answered: false,
                request_left: 0,
                database: Database::new(budget_bytes),
                aside: None,
                output: SendQueue::default(),
                written: WrittenEntries::default(),
                waits: false,
                settings_changed: false,
                update: None,
            },
        }
    }

    /// What a database may take in a domain of so much memory.
    pub fn budget(memory_bytes: u64) -> usize {
        (memory_bytes / 24).min(16 << 20) as usize
    }

    /// There is a fresh connection: the whole database is asked for, and what comes is put aside until it is complete.
    pub fn connected(&mut self) {
        self.disconnected();
        let session = &mut self.session;
        session.written.connected();
        session.phase = ConnectionPhase::Dump;
        session.aside = Some(Box::new(session.database.for_dump()));
        session.output.push(MessageType::MultiRead, "", "");
        session.request_left = session.output.first().len();
    }

    /// The connection is gone. What is known stays; half a message and half a dump are forgotten.
    pub fn disconnected(&mut self) {
        self.reader.clear();
        let session = &mut self.session;
        session.output.clear();
        session.aside = None;
        (session.phase, session.fault) = (ConnectionPhase::Closed, None);
        (session.has_answered, session.waits) = (false, false);
    }

    /// Takes what came, up to a message that gives an update: how many bytes. The rest is for when [`Self::next_update`] has
    /// none any more; until then none is taken, so that rules are never looked at while they are being rewritten.
    ///
    /// # Errors
    /// Why the connection is of no use any more. It is then to be closed, when [`Self::may_close`] says so.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, ProtocolFault> {
        let Self { reader, session } = self;
        if let Some(fault) = session.fault {
            return Err(fault);
        }
        let mut taken = 0;
        while session.phase != ConnectionPhase::Closed && session.update.is_none() {
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            session.has_answered |= session.request_left == 0;
            let (count, message) = reader.take(rest).inspect_err(|fault| session.fault = Some(*fault))?;
            taken += count;
            if let Some(message) = message {
                session.message(message).inspect_err(|fault| session.fault = Some(*fault))?;
            }
        }
        Ok(taken)
    }

    /// What is to be sent next: the rest of one message. It should go into the ring as a whole, as the daemon keeps a
    /// processor busy while it waits for the rest of one.
    pub fn output(&mut self) -> &[u8] {
        let session = &mut self.session;
        if session.phase == ConnectionPhase::Live
            && session.fault.is_none()
            && !session.waits
            && session.output.has_room()
        {
            // One at a time: what the daemon has to say about them is bounded as well.
            if let Some((path, value)) = session.written.next_due() {
                session.output.push(MessageType::Write, path, value);
                session.waits = true;
            }
        }
        session.output.first()
    }

    /// So many bytes of it are sent.
    pub fn sent(&mut self, count: usize) {
        let session = &mut self.session;
        session.request_left = session.request_left.saturating_sub(count);
        session.output.sent(count);
    }

    /// Whether the connection may be closed without ending the daemon: it has read our request. What it writes at this
    /// moment it must be able to write, so after a fault a second or so should pass first.
    pub fn may_close(&self) -> bool {
        self.session.has_answered
    }

    /// The next update, in the order in which they happened.
    pub fn next_update(&mut self) -> Option<Update> {
        let session = &mut self.session;
        let everything = session.update == Some(Update::Everything);
        if core::mem::take(&mut session.settings_changed) && !everything {
            return Some(Update::Settings);
        }
        session.update.take()
    }

    /// What the daemon had as of the last update.
    pub fn database(&self) -> &Database {
        &self.session.database
    }

    /// The rules of a source that a trigger told of are in effect, or the source is blocked.
    pub fn handled(&mut self, source: Ipv4Addr) {
        self.session.written.handled(&format!("{source}"));
    }

    /// What databases take of memory just now.
    pub fn database_bytes(&self) -> usize {
        let Session { database, aside, .. } = &self.session;
        database.cost() + aside.as_ref().map_or(0, |aside| aside.cost())
    }

    /// A name in the rules of a source has these addresses.
    pub fn name(&mut self, source: Ipv4Addr, host: &str, addresses: impl Iterator<Item = Ipv4Addr>) {
        self.session.written.name(source, host, addresses);
    }
}

impl Session {
    fn message(&mut self, message: DatabaseMessage<'_>) -> Result<(), ProtocolFault> {
        match message.kind {
            MessageType::Entry if self.phase != ConnectionPhase::Dump => {
                return Err(ProtocolFault::EntryAfterDump);
            }
            MessageType::Entry if message.path.is_empty() => self.dump_is_complete(),
            MessageType::Entry => self.write(message.path, message.value),
            MessageType::Write => {
                self.write(message.path, message.value);
                self.answer(message.path);
            }
            MessageType::Remove => {
                let changed = self.current().remove(message.path);
                self.settings_changed |= changed && self.phase == ConnectionPhase::Live;
                self.answer(message.path);
            }
            MessageType::Ok | MessageType::Error => self.waits = false,
            // Not among those that are read.
            MessageType::MultiRead => return Err(ProtocolFault::Type(message.kind as u8)),
        }
        Ok(())
    }

    /// The database that what comes goes into.
    fn current(&mut self) -> &mut Database {
        self.aside.as_deref_mut().unwrap_or(&mut self.database)
    }

    fn dump_is_complete(&mut self) {
        if let Some(mut aside) = self.aside.take() {
            aside.end_dump();
            self.database = *aside;
        }
        self.phase = ConnectionPhase::Live;
        self.update = Some(Update::Everything);
    }

    fn write(&mut self, path: &str, value: &[u8]) {
        let changed = self.current().put(path, value);
        if self.phase != ConnectionPhase::Live {
            if meaning(path) == Meaning::Handled {
                self.written.found(path, value);
            }
            return;
        }
        self.settings_changed |= changed;
        match meaning(path) {
            Meaning::Trigger(TriggerSource::Ipv4(source)) => self.update = Some(Update::Rules(source)),
            // Nobody forwards its packets, whatever its rules say.
            Meaning::Trigger(TriggerSource::Ipv6(source)) => self.written.handled(source),
            _ => {}
        }
    }

    fn answer(&mut self, path: &str) {
        if self.output.has_room() {
            self.output.push(MessageType::Ok, path, "");
        }
    }
}
