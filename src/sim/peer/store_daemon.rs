//! The kernel's connection: messages through the byte rings of its XenStore page.
//!
//! Moves as many bytes at a time as chance has it, so that messages are cut anywhere.

use crate::base::time::Moment;
use crate::sim::cast::{KERNEL, STORE};
use crate::sim::machine::Machine;
use crate::sim::machine::world::{NextRun, Peer};
use crate::sim::peer::store_refusals::StoreRefusals;
use crate::sim::store::Errno;
use crate::store::wire::{HEADER_BYTES, MAX_PAYLOAD_BYTES, MessageKind, RequestId, TransactionId, encode};
use crate::xen::DomainId;
use crate::xen::abi::store::{REQ, REQ_CONS, REQ_PROD, RING_BYTES, RSP, RSP_CONS, RSP_PROD};
use crate::xen::host::HostFrame;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Replies and events kept for the kernel before the daemon takes no more requests.
const MOST_WAITING_BYTES: usize = 256 << 10;

/// xenstored, as a peer of the kernel.
#[derive(Debug)]
pub struct StoreDaemon {
    ring: HostFrame,
    port: u32,
    asked: Vec<u8>,
    replies: VecDeque<u8>,
    /// In so many of thousand steps a watch fires for nothing.
    pub spurious_per_mille: u64,
    /// Of thousand transactions so many meet conflicts for nothing, a few in a row.
    pub conflict_per_mille: u64,
    /// What is refused for a while.
    pub refusals: StoreRefusals,
    /// A request is answered so long after it came; meanwhile others may come.
    pub latency: Duration,
    /// Requests that were taken and are not due yet.
    under_way: VecDeque<(Moment, [u32; 4], Vec<u8>)>,
    /// The present transaction has met enough.
    annoyed: bool,
    next_spurious: Moment,
}

impl StoreDaemon {
    /// Serves the kernel through `ring`, notified through `port`.
    pub fn new(ring: HostFrame, port: u32) -> Self {
        let (asked, replies) = (Vec::new(), VecDeque::new());
        Self {
            ring,
            port,
            asked,
            replies,
            spurious_per_mille: 0,
            conflict_per_mille: 0,
            refusals: StoreRefusals::default(),
            latency: Duration::ZERO,
            under_way: VecDeque::new(),
            annoyed: false,
            next_spurious: Moment::default(),
        }
    }

    /// Takes bytes of requests.
    fn take(&mut self, machine: &mut Machine) -> usize {
        let memory = &machine.memory;
        let (mut consumer, producer) = (memory.word(self.ring, REQ_CONS), memory.word(self.ring, REQ_PROD));
        let ready = producer.wrapping_sub(consumer);
        if ready > RING_BYTES {
            machine.violate("store-ring", format!("request index {producer} with {consumer} consumed"));
            return 0;
        }
        let taken = u64::from(ready).min(machine.prng.between(1, u64::from(RING_BYTES)));
        for _ in 0..taken {
            let mut byte = [0];
            machine.memory.read(self.ring, REQ + (consumer % RING_BYTES) as usize, &mut byte);
            self.asked.extend(byte);
            consumer = consumer.wrapping_add(1);
        }
        machine.memory.set_word(self.ring, REQ_CONS, consumer);
        taken as usize
    }

    /// Puts bytes of replies.
    fn put(&mut self, machine: &mut Machine) -> usize {
        let memory = &machine.memory;
        let (consumer, mut producer) = (memory.word(self.ring, RSP_CONS), memory.word(self.ring, RSP_PROD));
        let room = RING_BYTES.saturating_sub(producer.wrapping_sub(consumer));
        let moved = (room as usize).min(self.replies.len());
        let moved = moved.min(machine.prng.between(1, u64::from(RING_BYTES)) as usize);
        for byte in self.replies.drain(..moved) {
            machine.memory.write(self.ring, RSP + (producer % RING_BYTES) as usize, &[byte]);
            producer = producer.wrapping_add(1);
        }
        machine.memory.set_word(self.ring, RSP_PROD, producer);
        moved
    }

    fn next_request(&mut self) -> Option<([u32; 4], Vec<u8>)> {
        let header = self.asked.get(..HEADER_BYTES)?;
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(header.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let end = HEADER_BYTES + words[3] as usize;
        let payload = self.asked.get(HEADER_BYTES..end)?.to_vec();
        self.asked.drain(..end);
        Some((words, payload))
    }

    fn reply(&mut self, kind: MessageKind, request: u32, transaction: u32, payload: &[u8]) {
        let mut bytes = Vec::new();
        let (request, transaction) = (RequestId(request), TransactionId(transaction));
        if encode(&mut bytes, kind, request, transaction, &[payload]).is_ok() {
            self.replies.extend(bytes);
        }
    }

    fn answer(&mut self, [number, request, transaction, _]: [u32; 4], payload: &[u8], machine: &mut Machine) {
        let Some(kind) = MessageKind::from_number(number) else {
            return self.reply(MessageKind::Error, request, transaction, b"ENOSYS\0");
        };
        if kind == MessageKind::TransactionStart
            && !self.annoyed
            && machine.prng.chance(self.conflict_per_mille)
        {
            machine.store.spurious_conflicts = machine.prng.between(1, 4) as u32;
            self.annoyed = true;
        }
        let answer = match self.refusals.next(kind, machine) {
            Some(why) => {
                if kind == MessageKind::TransactionEnd {
                    let _ = machine.store.abandon(KERNEL, transaction);
                }
                Err(why)
            }
            None => carry_out(kind, transaction, payload, machine),
        };
        machine.note(&[20, u64::from(number), u64::from(answer.is_ok())], || {
            let (text, outcome) = (String::from_utf8_lossy(payload), answer.as_ref().map(Vec::len));
            format!("store: kernel asks {kind:?} {:?}: {outcome:?}", text.replace('\0', " "))
        });
        if kind == MessageKind::TransactionEnd && answer.is_ok() {
            self.annoyed = false;
        }
        if let (MessageKind::Watch, Ok(_), Some((path, token))) = (kind, &answer, two_texts(payload)) {
            machine.store.fired.push_back((KERNEL, path, token));
        }
        match answer {
            Ok(payload) if payload.len() > MAX_PAYLOAD_BYTES => {
                self.reply(MessageKind::Error, request, transaction, b"E2BIG\0");
            }
            Ok(payload) => self.reply(kind, request, transaction, &payload),
            Err(error) => {
                self.reply(MessageKind::Error, request, transaction, format!("{error}\0").as_bytes());
            }
        }
    }
}

impl Peer for StoreDaemon {
    fn domain(&self) -> DomainId {
        STORE
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        machine.channels.take(STORE, self.port);
        if machine.now >= self.next_spurious && machine.prng.chance(self.spurious_per_mille) {
            self.next_spurious = machine.now + Duration::from_millis(machine.prng.between(1, 400));
            let watches = machine.store.watches();
            let ours: Vec<_> = watches.iter().filter(|watch| watch.domain == KERNEL).cloned().collect();
            if !ours.is_empty() {
                let watch = machine.prng.pick(&ours).clone();
                machine.store.fired.push_back((KERNEL, watch.path, watch.token));
            }
        }
        let mut moved = 0;
        if self.replies.len() < MOST_WAITING_BYTES {
            moved += self.take(machine);
        }
        while let Some((header, payload)) = self.next_request() {
            machine.ledger.store_requests += 1;
            self.under_way.push_back((machine.now + self.latency, header, payload));
        }
        while let Some((_, header, payload)) = self.under_way.pop_front_if(|(due, ..)| *due <= machine.now) {
            self.answer(header, &payload, machine);
        }
        while let Some((domain, path, token)) = machine.store.fired.pop_front() {
            if domain == KERNEL && self.replies.len() < MOST_WAITING_BYTES {
                self.reply(MessageKind::WatchEvent, 0, 0, format!("{path}\0{token}\0").as_bytes());
            }
        }
        machine.spread_store_events();
        moved += self.put(machine);
        if moved > 0 {
            machine.send_event(STORE, self.port);
        }
        let due = self.under_way.front().map(|(due, ..)| *due);
        let noise = (self.spurious_per_mille + self.conflict_per_mille > 0)
            .then(|| machine.now + Duration::from_micros(machine.prng.between(1_000, 200_000)));
        match due.into_iter().chain(noise).min() {
            _ if moved > 0 => NextRun::Again,
            Some(due) => NextRun::Until(due),
            None => NextRun::Asleep,
        }
    }
}

/// Two texts, each ended by NUL.
fn two_texts(payload: &[u8]) -> Option<(String, String)> {
    let mut parts = payload.split(|&byte| byte == 0);
    let mut text = || parts.next().and_then(|part| String::from_utf8(part.to_vec()).ok());
    Some((text()?, text()?))
}

fn carry_out(
    kind: MessageKind,
    transaction: u32,
    payload: &[u8],
    machine: &mut Machine,
) -> Result<Vec<u8>, Errno> {
    let store = &mut machine.store;
    let end = payload.iter().position(|&byte| byte == 0).ok_or("EINVAL")?;
    let (path, rest) = payload.split_at(end);
    let path = core::str::from_utf8(path).map_err(|_| "EINVAL")?;
    let rest = rest.get(1..).unwrap_or_default();
    let ok = Ok(b"OK\0".to_vec());
    match (kind, transaction) {
        (MessageKind::Read, 0) => store.read(KERNEL, path),
        (MessageKind::Read, id) => store.read_within(KERNEL, id, path),
        (MessageKind::Directory, 0) => store.directory(KERNEL, path).map(names),
        (MessageKind::Directory, id) => store.directory_within(KERNEL, id, path).map(names),
        (MessageKind::Write, 0) => store.write(KERNEL, path, rest).and(ok),
        (MessageKind::Write, id) => store.write_within(KERNEL, id, path, rest).and(ok),
        (MessageKind::MakeDirectory, 0) => store.write(KERNEL, path, b"").and(ok),
        (MessageKind::Remove, 0) => store.remove(KERNEL, path).and(ok),
        (MessageKind::Remove, id) => store.remove_within(KERNEL, id, path).and(ok),
        (MessageKind::TransactionStart, 0) => store.begin(KERNEL).map(|id| format!("{id}\0").into_bytes()),
        (MessageKind::TransactionEnd, id) if path == "T" => store.commit(KERNEL, id).and(ok),
        (MessageKind::TransactionEnd, id) => store.abandon(KERNEL, id).and(ok),
        (MessageKind::Watch | MessageKind::Unwatch, _) => {
            let (path, token) = two_texts(payload).ok_or("EINVAL")?;
            match kind {
                MessageKind::Watch => store.watch(KERNEL, &path, &token).and(ok),
                _ => store.unwatch(KERNEL, &path, &token).and(ok),
            }
        }
        _ => Err("ENOSYS"),
    }
}

fn names(children: Vec<String>) -> Vec<u8> {
    children.iter().flat_map(|name| format!("{name}\0").into_bytes()).collect()
}
