//! The server's side of a vchan, as libxenvchan has it, and what a broken or hostile one does. It is no peer by itself:
//! whoever serves by it is.

use crate::sim::machine::Machine;
use crate::sim::machine::grants::GrantUse;
use crate::xen::DomainId;
use crate::xen::host::HostFrame;
use crate::xen::page::PAGE_BYTES;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

const LEFT_CONS: usize = 0;
const LEFT_PROD: usize = 4;
const RIGHT_CONS: usize = 8;
const RIGHT_PROD: usize = 12;
const ORDERS: usize = 16;
const CLI_LIVE: usize = 20;
const SRV_LIVE: usize = 21;
const CLI_NOTIFY: usize = 22;
const SRV_NOTIFY: usize = 23;
const GRANTS: usize = 24;
const NOTIFY_WRITE: u8 = 1;
const NOTIFY_READ: u8 = 2;
const PAGE_ORDER: u32 = 12;

/// Where a vchan is announced.
pub fn vchan_node(server: DomainId, client: DomainId, number: u32) -> String {
    format!("/local/domain/{}/data/vchan/{}/{number}", server.0, client.0)
}

/// How a server's indices are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadIndex {
    /// It has written more than fits.
    Written(u32),
    /// It has read what was not written.
    Read(u32),
}

/// What an announcement is that no vchan stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FalseAnnouncement {
    /// Number 0 for the grant.
    Zero,
    /// Numbers that were a server's once.
    Stale,
    /// No numbers.
    Garbage,
}

/// A server that waits for its client, or has one.
#[derive(Debug)]
pub struct VchanServer {
    server: DomainId,
    node: String,
    interface: HostFrame,
    /// The pages of left and right, where they have some of their own.
    rings: Vec<HostFrame>,
    grants: Vec<u32>,
    port: u32,
    orders: (u32, u32),
}

impl VchanServer {
    /// Makes a vchan with rings of these orders, left and right, for `client`, and announces it.
    ///
    /// # Panics
    /// If the machine has too little memory.
    pub fn start(
        machine: &mut Machine,
        server: DomainId,
        client: DomainId,
        number: u32,
        orders: (u32, u32),
    ) -> Self {
        let lend = |machine: &mut Machine| {
            let frame = machine.take_frame();
            machine.memory.fill(frame, 0, PAGE_BYTES, 0);
            let grant = machine.peer_grant(server, frame, client, GrantUse::Write).expect("a free grant");
            (frame, grant)
        };
        let (interface, first) = lend(machine);
        let (mut rings, mut grants) = (Vec::new(), vec![first]);
        for order in [orders.0, orders.1] {
            if order >= PAGE_ORDER {
                let (frame, grant) = lend(machine);
                machine.memory.set_word(interface, GRANTS + rings.len() * 4, grant);
                rings.push(frame);
                grants.push(grant);
            }
        }
        machine.memory.set_word(interface, ORDERS, orders.0 | orders.1 << 16);
        machine.memory.write(interface, CLI_LIVE, &[2, 1, NOTIFY_WRITE, 0]);
        let port = machine.channels.allocate(server, client).expect("a free port");
        let node = vchan_node(server, client, number);
        announce(machine, &node, (server, client), &format!("{first}"), &format!("{port}"));
        Self { server, node, interface, rings, grants, port, orders }
    }

    /// Announces what nobody serves.
    pub fn announce_falsely(
        machine: &mut Machine,
        (server, client): (DomainId, DomainId),
        number: u32,
        how: FalseAnnouncement,
    ) {
        let (grant, port) = match how {
            FalseAnnouncement::Zero => ("0", "7"),
            FalseAnnouncement::Stale => ("1900", "3000"),
            FalseAnnouncement::Garbage => ("-1", "port"),
        };
        announce(machine, &vchan_node(server, client, number), (server, client), grant, port);
    }

    fn byte(&self, machine: &Machine, offset: usize) -> u8 {
        let mut byte = [0];
        machine.memory.read(self.interface, offset, &mut byte);
        let [byte] = byte;
        byte
    }

    /// Takes the notification that came, so that the next one wakes us.
    pub fn take_event(&self, machine: &mut Machine) {
        machine.channels.take(self.server, self.port);
    }

    /// Whether the client has come: then the announcement goes, as Qubes' libvchan removes it at the first event.
    pub fn look_for_client(&self, machine: &mut Machine) -> bool {
        self.take_event(machine);
        let has_come = machine.channels.is_bound(self.server, self.port) && self.byte(machine, CLI_LIVE) == 1;
        if has_come {
            let _ = machine.store.remove(self.server, &self.node);
        }
        has_come
    }

    /// Whether the client, having come, is still there.
    pub fn is_open(&self, machine: &Machine) -> bool {
        self.byte(machine, CLI_LIVE) != 0
    }

    fn place(&self, order: u32, nth: usize, index: u32) -> (HostFrame, usize) {
        let within = (index & ((1 << order) - 1)) as usize;
        if order < PAGE_ORDER {
            return (self.interface, (1 << order) + within);
        }
        (self.rings.get(nth).copied().unwrap_or(self.interface), within)
    }

    /// Reads at most `most` bytes.
    pub fn read(&self, machine: &mut Machine, most: usize) -> Vec<u8> {
        let mut consumed = machine.memory.word(self.interface, LEFT_CONS);
        let waiting = machine.memory.word(self.interface, LEFT_PROD).wrapping_sub(consumed);
        if waiting > 1 << self.orders.0 {
            machine.violate("vchan", format!("{waiting} bytes in a ring of order {}", self.orders.0));
            return Vec::new();
        }
        let mut bytes = vec![0; most.min(waiting as usize)];
        for byte in bytes.chunks_mut(1) {
            let (frame, at) = self.place(self.orders.0, 0, consumed);
            machine.memory.read(frame, at, byte);
            consumed = consumed.wrapping_add(1);
        }
        machine.memory.set_word(self.interface, LEFT_CONS, consumed);
        if !bytes.is_empty() {
            self.notify(machine, NOTIFY_READ);
        }
        bytes
    }

    /// Writes as much of `bytes` as there is room for; how much that was.
    pub fn write(&self, machine: &mut Machine, bytes: &[u8]) -> usize {
        let mut produced = machine.memory.word(self.interface, RIGHT_PROD);
        let used = produced.wrapping_sub(machine.memory.word(self.interface, RIGHT_CONS));
        let Some(room) = (1u32 << self.orders.1).checked_sub(used) else {
            machine.violate("vchan", format!("{used} bytes are unread in a ring of order {}", self.orders.1));
            return 0;
        };
        let moved = bytes.len().min(room as usize);
        let nth = usize::from(self.orders.0 >= PAGE_ORDER);
        for byte in bytes.chunks(1).take(moved) {
            let (frame, at) = self.place(self.orders.1, nth, produced);
            machine.memory.write(frame, at, byte);
            produced = produced.wrapping_add(1);
        }
        machine.memory.set_word(self.interface, RIGHT_PROD, produced);
        if moved > 0 {
            self.notify(machine, NOTIFY_WRITE);
        }
        moved
    }

    /// Notifies the client if it asked for that.
    fn notify(&self, machine: &mut Machine, bit: u8) {
        let asked = self.byte(machine, SRV_NOTIFY);
        machine.memory.write(self.interface, SRV_NOTIFY, &[asked & !bit]);
        if asked & bit != 0 {
            machine.send_event(self.server, self.port);
        }
    }

    /// Asks the client for notifications of what it writes and reads; whether bytes wait already.
    pub fn arm(&self, machine: &mut Machine) -> bool {
        let asked = self.byte(machine, CLI_NOTIFY);
        machine.memory.write(self.interface, CLI_NOTIFY, &[asked | NOTIFY_WRITE | NOTIFY_READ]);
        let word = |offset| machine.memory.word(self.interface, offset);
        word(LEFT_PROD) != word(LEFT_CONS)
    }

    /// Bytes of the server's that the client has not read.
    pub fn unread(&self, machine: &Machine) -> u32 {
        let word = |offset| machine.memory.word(self.interface, offset);
        word(RIGHT_PROD).wrapping_sub(word(RIGHT_CONS))
    }

    /// Moves an index to where it cannot be, and notifies.
    pub fn break_index(&self, machine: &mut Machine, how: BadIndex) {
        let (offset, value) = match how {
            BadIndex::Written(more) => {
                (RIGHT_PROD, machine.memory.word(self.interface, RIGHT_CONS).wrapping_add(more))
            }
            BadIndex::Read(more) => {
                (LEFT_CONS, machine.memory.word(self.interface, LEFT_PROD).wrapping_add(more))
            }
        };
        machine.memory.set_word(self.interface, offset, value);
        machine.send_event(self.server, self.port);
    }

    /// Goes, as `libxenvchan_close` does, or the system for a process that died: `node` stays only if nobody had come.
    /// Its pages stay where the client maps them.
    pub fn stop(self, machine: &mut Machine) {
        machine.memory.write(self.interface, SRV_LIVE, &[0]);
        machine.send_event(self.server, self.port);
        machine.channels.close(self.server, self.port);
        for (&grant, frame) in self.grants.iter().zip([self.interface].into_iter().chain(self.rings)) {
            if machine.peer_end_grant(self.server, grant) {
                machine.give_frame(frame);
            }
        }
    }
}

fn announce(
    machine: &mut Machine,
    node: &str,
    (server, client): (DomainId, DomainId),
    grant: &str,
    port: &str,
) {
    // Nobody else acts in between, as within a transaction.
    machine.store.create_as(&format!("{node}/ring-ref"), grant, server, &[client]);
    machine.store.create_as(&format!("{node}/event-channel"), port, server, &[client]);
}

#[cfg(test)]
#[path = "vchan_server_tests.rs"]
mod tests;
