//! dom0's QubesDB daemon, from bytes to bytes: what it has, what it sends, and what ends it.
//!
//! It does as `daemon/db-cmds.c`, `db-core.c` and `db-daemon.c` of QubesOS/qubes-core-qubesdb do, and like that it ends on whatever it
//! does not like. Then nobody starts it again, so an end that the kernel has caused is a fault of the kernel's.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The bytes of a header.
const HEADER: usize = 72;

/// A value has fewer bytes.
const MAX_DATA: usize = 3072;

/// The longest path that is not cut.
const LONGEST_PATH: usize = 63;

const WRITE: u8 = 1;
const MULTIREAD: u8 = 2;
const RM: u8 = 4;
const OK: u8 = 7;
const NOENT: u8 = 8;
const ERROR: u8 = 9;
const RESP_MULTIREAD: u8 = 11;

/// Why the daemon ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonEnd {
    /// A type that is not allowed on a vchan.
    Type(u8),
    /// A value of 3072 bytes or more.
    DataLength(u32),
    /// A character that no path has, or a dash at its beginning.
    PathCharacter(String),
    /// A write to a path that does not begin with a slash, or ends with one.
    WritePath(String),
    /// A second request for the whole database on one connection.
    SecondMultiRead,
    /// The removal of what it does not have, answered with NOENT.
    RemovedUnknown(String),
    /// A removal when the ring had no room for the answer.
    NoRoomForAnswer,
    /// An error with a value.
    ErrorWithData,
    /// An entry of a database that it did not ask for.
    Entry,
    /// Connected and closed without a request in between.
    ClosedBeforeRequest,
}

/// What does not end the daemon, and that nobody should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reproach {
    /// A path that was cut.
    CutPath(String),
    /// A value with a NUL, which was refused.
    NulInData(String),
    /// A request that has no value came with one, and was refused.
    UnexpectedData(u8),
    /// An OK with a value, which will be taken for a message.
    OkWithData,
    /// More answers than there were changes, or an answer about another entry.
    WrongAnswer(String),
}

/// A connection.
#[derive(Debug, Default)]
struct QubesDbConnection {
    /// What came and is not a whole message yet.
    incoming: Vec<u8>,
    /// The other end has asked for the database, and gets all changes.
    is_synchronized: bool,
    /// Changes that were sent and not answered.
    unanswered: VecDeque<String>,
}

/// The daemon of one qube.
#[derive(Debug, Default)]
pub struct QubesDbServer {
    entries: BTreeMap<String, Vec<u8>>,
    connection: Option<QubesDbConnection>,
    /// What waits to be put into the ring.
    output: VecDeque<u8>,
    end: Option<DaemonEnd>,
    reproaches: Vec<Reproach>,
    /// How often the whole database was sent.
    pub dumps: u64,
    /// What the database was when it was last sent.
    pub dumped: BTreeMap<String, Vec<u8>>,
}

impl QubesDbServer {
    /// A daemon with these entries.
    pub fn new(entries: BTreeMap<String, Vec<u8>>) -> Self {
        Self { entries, ..Self::default() }
    }

    /// What it has.
    pub fn entries(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.entries
    }

    /// Why it ended, if it did.
    pub fn end(&self) -> Option<&DaemonEnd> {
        self.end.as_ref()
    }

    /// What it put up with.
    pub fn reproaches(&self) -> &[Reproach] {
        &self.reproaches
    }

    /// What waits to be put into the ring, for whoever moves it there.
    pub fn output(&mut self) -> &mut VecDeque<u8> {
        &mut self.output
    }

    /// The other end has connected.
    pub fn connected(&mut self) {
        self.connection = Some(QubesDbConnection::default());
        self.output.clear();
    }

    /// The other end has closed the connection.
    pub fn closed(&mut self) {
        match self.connection.take() {
            Some(connection) if !connection.is_synchronized => self.die(DaemonEnd::ClosedBeforeRequest),
            _ => {}
        }
        self.output.clear();
    }

    /// Somebody in dom0 writes an entry.
    pub fn write(&mut self, path: &str, value: &[u8]) {
        self.entries.insert(path.to_string(), value.to_vec());
        self.forward(WRITE, path, value);
    }

    /// Somebody in dom0 removes an entry, or all below a path that ends with a slash. Whether there was one.
    pub fn remove(&mut self, path: &str) -> bool {
        let removed = self.take_out(path);
        if removed {
            self.forward(RM, path, &[]);
        }
        removed
    }

    /// Takes what came; the ring to the other end has `room` bytes.
    pub fn receive(&mut self, bytes: &[u8], room: usize) {
        let Some(connection) = &mut self.connection else { return };
        connection.incoming.extend_from_slice(bytes);
        while self.end.is_none() && self.message(room) {}
    }

    fn forward(&mut self, kind: u8, path: &str, value: &[u8]) {
        let connection = self.connection.as_mut().filter(|connection| connection.is_synchronized);
        if let Some(connection) = connection.filter(|_| self.end.is_none()) {
            connection.unanswered.push_back(path.to_string());
            self.send(kind, path, value);
        }
    }

    fn send(&mut self, kind: u8, path: &str, value: &[u8]) {
        // What stands behind the end of the path is left over from other messages.
        let mut header = [0x5a; HEADER];
        header[0] = kind;
        header[1..][..path.len()].copy_from_slice(path.as_bytes());
        header[1 + path.len()] = 0;
        header[68..].copy_from_slice(&(value.len() as u32).to_le_bytes());
        self.output.extend(header);
        self.output.extend(value);
    }

    fn die(&mut self, end: DaemonEnd) {
        self.end.get_or_insert(end);
        self.connection = None;
        self.output.clear();
    }

    fn take_out(&mut self, path: &str) -> bool {
        let before = self.entries.len();
        let is_folder = path.ends_with('/');
        self.entries.retain(|entry, _| if is_folder { !entry.starts_with(path) } else { entry != path });
        self.entries.len() < before
    }

    /// Handles the message that came, if it is whole.
    fn message(&mut self, room: usize) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let Some(header) = connection.incoming.first_chunk::<HEADER>().copied() else { return false };
        let data_bytes = u32::from_le_bytes([header[68], header[69], header[70], header[71]]);
        let kind = header[0];
        if ![WRITE, MULTIREAD, RM, OK, ERROR, RESP_MULTIREAD].contains(&kind) {
            self.die(DaemonEnd::Type(kind));
            return false;
        }
        if header[64] != 0 {
            self.reproaches.push(Reproach::CutPath(String::from_utf8_lossy(&header[1..65]).to_string()));
        }
        let path = &header[1..=LONGEST_PATH];
        let path = &path[..path.iter().position(|&byte| byte == 0).unwrap_or(LONGEST_PATH)];
        let sound = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-_/.:@".contains(&byte);
        if !path.iter().all(sound) || path.first() == Some(&b'-') {
            self.die(DaemonEnd::PathCharacter(String::from_utf8_lossy(path).to_string()));
            return false;
        }
        if data_bytes as usize >= MAX_DATA {
            self.die(DaemonEnd::DataLength(data_bytes));
            return false;
        }
        let whole = HEADER + data_bytes as usize;
        if connection.incoming.len() < whole && kind != OK {
            return false;
        }
        let path = String::from_utf8_lossy(path).to_string();
        // The data of an OK is not read.
        let taken = if kind == OK { HEADER } else { whole };
        let message: Vec<u8> = connection.incoming.drain(..taken).collect();
        self.handle(kind, &path, &message[HEADER..], data_bytes, room);
        true
    }

    fn handle(&mut self, kind: u8, path: &str, data: &[u8], data_bytes: u32, room: usize) {
        match kind {
            WRITE if data.contains(&0) => {
                self.reproaches.push(Reproach::NulInData(path.to_string()));
                self.send(ERROR, path, &[]);
            }
            WRITE if !path.starts_with('/') || path.ends_with('/') => {
                self.die(DaemonEnd::WritePath(path.to_string()));
            }
            WRITE => {
                self.entries.insert(path.to_string(), data.to_vec());
                self.send(OK, path, &[]);
            }
            MULTIREAD => self.multi_read(path, data),
            RM if room < HEADER => self.die(DaemonEnd::NoRoomForAnswer),
            RM if !data.is_empty() => {
                self.reproaches.push(Reproach::UnexpectedData(RM));
                self.send(ERROR, path, &[]);
            }
            RM => {
                if self.take_out(path) {
                    self.send(OK, path, &[]);
                } else {
                    self.send(NOENT, path, &[]);
                    self.die(DaemonEnd::RemovedUnknown(path.to_string()));
                }
            }
            OK if data_bytes > 0 => self.reproaches.push(Reproach::OkWithData),
            OK => self.answered(path),
            ERROR if data_bytes > 0 => self.die(DaemonEnd::ErrorWithData),
            ERROR => self.answered(path),
            _ => self.die(DaemonEnd::Entry),
        }
    }

    /// A change was answered. Some answers may be left out, but none made up.
    fn answered(&mut self, path: &str) {
        let Some(connection) = &mut self.connection else { return };
        match connection.unanswered.iter().position(|change| change == path) {
            Some(at) => drop(connection.unanswered.drain(..=at)),
            None => self.reproaches.push(Reproach::WrongAnswer(path.to_string())),
        }
    }

    fn multi_read(&mut self, path: &str, data: &[u8]) {
        let Some(connection) = &mut self.connection else { return };
        if connection.is_synchronized {
            return self.die(DaemonEnd::SecondMultiRead);
        }
        connection.is_synchronized = true;
        if !data.is_empty() {
            self.reproaches.push(Reproach::UnexpectedData(MULTIREAD));
            return self.send(ERROR, path, &[]);
        }
        self.dumps += 1;
        self.dumped = self.entries.clone();
        let dump: Vec<_> =
            self.dumped.clone().into_iter().filter(|(entry, _)| entry.starts_with(path)).collect();
        for (entry, value) in dump.iter().rev() {
            self.send(RESP_MULTIREAD, entry, value);
        }
        self.send(RESP_MULTIREAD, "", &[]);
    }
}

#[cfg(test)]
#[path = "qubesdb_server_tests.rs"]
mod tests;
