//! Neighbours on the uplink: from next hop to Ethernet address, by ARP (RFC 826, RFC 1122 section 2.3.2).
//!
//! Pure: what is to be sent comes out as [`Event`]s. A hop is asked for at most once a second and three times
//! in all; meanwhile the newest packets for it are held. Only answers to hops that are in use are believed.
//! The gateway is special: when it never answers, the address of every Xen backend is used, because some
//! backends forward without speaking ARP.

use crate::time::Moment;
use crate::wire::ethernet::Mac;
use arrayvec::ArrayVec;
use core::net::Ipv4Addr;
use core::time::Duration;
use hashbrown::HashMap;
use siphasher::sip::SipHasher13;

/// Most hops at once; one that a scan makes up goes before one that answered.
const MAX_HOPS: usize = 256;
/// Packets held per hop.
const HELD: usize = 3;
/// Between two questions for one hop.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Questions before a hop counts as unreachable.
const QUESTIONS: u8 = 3;
/// After this, an answer is asked for again while it goes on being used.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<P> {
    /// Broadcast a question for this hop.
    Ask(Ipv4Addr),
    /// Send the packet to this address.
    Send(Mac, P),
    /// The packet's next hop does not answer.
    Unreachable(P),
    /// A newer packet took its place while its hop was asked for.
    Displaced(P),
}

#[derive(Debug)]
struct Hop<P> {
    mac: Option<Mac>,
    /// When the address was last confirmed.
    confirmed: Moment,
    /// Questions asked since then.
    questions: u8,
    asked: Moment,
    held: ArrayVec<P, HELD>,
}

impl<P> Hop<P> {
    /// Asks again if that is due; whether a question is to be sent.
    fn ask(&mut self, now: Moment) -> bool {
        let due = self.questions == 0 || now >= self.asked + ASK_EVERY;
        let ask = due && self.questions < QUESTIONS;
        if ask {
            self.questions += 1;
            self.asked = now;
        }
        ask
    }

    /// Whether the last question went unanswered for as long as one is waited for.
    fn gave_up(&self, now: Moment) -> bool {
        self.questions == QUESTIONS && now >= self.asked + ASK_EVERY
    }
}

type Hops<P> = HashMap<Ipv4Addr, Hop<P>, core::hash::BuildHasherDefault<SipHasher13>>;

/// The neighbour table.
#[derive(Debug)]
pub struct Neighbours<P> {
    hops: Hops<P>,
    /// The hop that was sent to last: nearly always the next packet's, too.
    last: Option<Known>,
    gateway: Ipv4Addr,
    fallback: Mac,
}

/// A hop whose address needs no question.
#[derive(Clone, Copy, Debug)]
struct Known {
    hop: Ipv4Addr,
    mac: Mac,
    until: Moment,
}

impl<P> Neighbours<P> {
    /// A table in which `gateway` is taken to be at `fallback` when it does not answer.
    pub fn new(gateway: Ipv4Addr, fallback: Mac) -> Self {
        // The table is bounded, so colliding keys cannot make it slow: a fixed hash key does.
        let hops = Hops::with_capacity_and_hasher(MAX_HOPS, Default::default());
        Self { hops, last: None, gateway, fallback }
    }

    /// Sends `packet` to `hop`, or holds it until the hop answers.
    pub fn resolve(&mut self, hop: Ipv4Addr, packet: P, now: Moment, emit: &mut dyn FnMut(Event<P>)) {
        match self.last {
            Some(last) if last.hop == hop && now < last.until => emit(Event::Send(last.mac, packet)),
            _ => self.look_up(hop, packet, now, emit),
        }
    }

    fn look_up(&mut self, hop: Ipv4Addr, packet: P, now: Moment, emit: &mut dyn FnMut(Event<P>)) {
        if !self.hops.contains_key(&hop) && self.hops.len() >= MAX_HOPS && !self.evict() {
            return emit(Event::Unreachable(packet));
        }
        let entry = self.hops.entry(hop).or_insert_with(|| Hop {
            mac: None,
            confirmed: now,
            questions: 0,
            asked: now,
            held: ArrayVec::new(),
        });
        match entry.mac {
            Some(mac) => {
                let until = entry.confirmed + FRESH_FOR;
                if now < until {
                    self.last = Some(Known { hop, mac, until });
                } else {
                    if entry.ask(now) {
                        emit(Event::Ask(hop));
                    } else if entry.gave_up(now) {
                        // Held from the next packet on, until it answers or is given up.
                        entry.mac = None;
                        entry.questions = 0;
                    }
                }
                emit(Event::Send(mac, packet));
            }
            None => {
                if entry.held.is_full() {
                    emit(Event::Displaced(entry.held.remove(0)));
                }
                entry.held.push(packet);
                if entry.ask(now) {
                    emit(Event::Ask(hop));
                }
            }
        }
    }

    /// Takes an answer: `address` is at `mac`. Ignored when nobody asked.
    pub fn learn(&mut self, address: Ipv4Addr, mac: Mac, now: Moment, emit: &mut dyn FnMut(Event<P>)) {
        if let Some(hop) = self.hops.get_mut(&address) {
            self.last = None;
            hop.mac = Some(mac);
            hop.confirmed = now;
            hop.questions = 0;
            for packet in hop.held.drain(..) {
                emit(Event::Send(mac, packet));
            }
        }
    }

    /// Asks again, and gives up on hops that did not answer.
    pub fn advance(&mut self, now: Moment, emit: &mut dyn FnMut(Event<P>)) {
        let (gateway, fallback) = (self.gateway, self.fallback);
        self.hops.retain(|&address, hop| {
            if hop.mac.is_some() {
                return true;
            }
            if hop.gave_up(now) && address == gateway {
                hop.mac = Some(fallback);
                hop.confirmed = now;
                hop.questions = 0;
                hop.held.drain(..).for_each(|packet| emit(Event::Send(fallback, packet)));
                return true;
            }
            if hop.gave_up(now) {
                hop.held.drain(..).for_each(|packet| emit(Event::Unreachable(packet)));
                return false;
            }
            if hop.ask(now) {
                emit(Event::Ask(address));
            }
            true
        });
    }

    /// When [`Self::advance`] has something to do.
    pub fn deadline(&self) -> Option<Moment> {
        self.hops.values().filter(|hop| hop.mac.is_none()).map(|hop| hop.asked + ASK_EVERY).min()
    }

    /// Forgets everything, for a new uplink. What was held comes out as unreachable.
    pub fn clear(&mut self, emit: &mut dyn FnMut(Event<P>)) {
        self.last = None;
        for (_, hop) in self.hops.drain() {
            hop.held.into_iter().for_each(|packet| emit(Event::Unreachable(packet)));
        }
    }

    /// Makes room by forgetting the hop that was confirmed longest ago and holds nothing.
    fn evict(&mut self) -> bool {
        self.last = None;
        let idle = self.hops.iter().filter(|&(&address, hop)| hop.held.is_empty() && address != self.gateway);
        let oldest = idle.min_by_key(|(_, hop)| hop.confirmed).map(|(&address, _)| address);
        oldest.is_some_and(|address| self.hops.remove(&address).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::Event::*;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
    const FALLBACK: Mac = Mac([0xfe; 6]);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    struct Rig {
        table: Neighbours<u32>,
        now: Moment,
    }

    impl Rig {
        fn new() -> Self {
            Self { table: Neighbours::new(GATEWAY, FALLBACK), now: Moment::from_nanoseconds(5_000_000_000) }
        }

        fn after(&mut self, milliseconds: u64) -> &mut Self {
            self.now = self.now + Duration::from_millis(milliseconds);
            self
        }

        fn resolve(&mut self, hop: Ipv4Addr, packet: u32) -> Vec<Event<u32>> {
            let mut events = Vec::new();
            self.table.resolve(hop, packet, self.now, &mut |event| events.push(event));
            events
        }

        fn learn(&mut self, hop: Ipv4Addr) -> Vec<Event<u32>> {
            let mut events = Vec::new();
            self.table.learn(hop, MAC, self.now, &mut |event| events.push(event));
            events
        }

        fn advance(&mut self) -> Vec<Event<u32>> {
            let mut events = Vec::new();
            self.table.advance(self.now, &mut |event| events.push(event));
            events
        }
    }

    #[test]
    fn a_hop_in_use_is_followed_to_its_new_address_and_forgotten_with_the_uplink() {
        let mut rig = Rig::new();
        rig.resolve(HOST, 1);
        rig.learn(HOST);
        assert_eq!(rig.resolve(HOST, 2), [Send(MAC, 2)]);
        let moved = Mac([2, 0, 0, 0, 0, 10]);
        rig.table.learn(HOST, moved, rig.now, &mut |event| panic!("nothing was held: {event:?}"));
        assert_eq!(rig.resolve(HOST, 3), [Send(moved, 3)]);
        rig.table.clear(&mut |event| panic!("nothing was held: {event:?}"));
        assert_eq!(rig.resolve(HOST, 4), [Ask(HOST)]);
    }

    #[test]
    fn first_packet_is_delivered_after_the_answer() {
        let mut rig = Rig::new();
        assert_eq!(rig.resolve(HOST, 1), [Ask(HOST)]);
        assert_eq!(rig.learn(HOST), [Send(MAC, 1)]);
        assert_eq!(rig.resolve(HOST, 2), [Send(MAC, 2)]);
    }

    #[test]
    fn a_5_ten_packets_cause_one_question_a_second_and_the_newest_are_held() {
        let mut rig = Rig::new();
        let mut events = Vec::new();
        for packet in 0..10 {
            events.extend(rig.after(50).resolve(HOST, packet));
        }
        assert_eq!(events.iter().filter(|event| matches!(event, Ask(_))).count(), 1);
        assert_eq!(rig.advance(), []);
        assert_eq!(rig.learn(HOST), [Send(MAC, 7), Send(MAC, 8), Send(MAC, 9)]);
    }

    #[test]
    fn hop_that_never_answers_is_unreachable_after_three_questions() {
        let mut rig = Rig::new();
        assert_eq!(rig.resolve(HOST, 1), [Ask(HOST)]);
        assert_eq!(rig.after(1000).advance(), [Ask(HOST)]);
        assert_eq!(rig.after(1000).advance(), [Ask(HOST)]);
        assert_eq!(rig.after(999).advance(), []);
        assert_eq!(rig.after(1).advance(), [Unreachable(1)]);
        assert_eq!(rig.table.deadline(), None);
    }

    #[test]
    fn a_6_a_gateway_that_never_answers_is_taken_to_be_a_xen_backend() {
        let mut rig = Rig::new();
        rig.resolve(GATEWAY, 1);
        rig.after(1000).advance();
        rig.after(1000).advance();
        assert_eq!(rig.after(1000).advance(), [Send(FALLBACK, 1)]);
        assert_eq!(rig.resolve(GATEWAY, 2), [Send(FALLBACK, 2)]);
        assert_eq!(rig.learn(GATEWAY), []);
        assert_eq!(rig.resolve(GATEWAY, 3), [Send(MAC, 3)]);
    }

    #[test]
    fn unasked_answers_are_not_believed() {
        let mut rig = Rig::new();
        assert_eq!(rig.learn(HOST), []);
        assert_eq!(rig.resolve(HOST, 1), [Ask(HOST)]);
    }

    #[test]
    fn old_answer_is_used_while_it_is_asked_for_again() {
        let mut rig = Rig::new();
        rig.resolve(HOST, 1);
        rig.learn(HOST);
        assert_eq!(rig.after(60_000).resolve(HOST, 2), [Ask(HOST), Send(MAC, 2)]);
        assert_eq!(rig.after(500).resolve(HOST, 3), [Send(MAC, 3)]);
        assert_eq!(rig.after(500).resolve(HOST, 4), [Ask(HOST), Send(MAC, 4)]);
        rig.learn(HOST);
        assert_eq!(rig.after(1000).resolve(HOST, 5), [Send(MAC, 5)]);
    }

    #[test]
    fn old_answer_that_is_not_confirmed_is_given_up() {
        let mut rig = Rig::new();
        rig.resolve(HOST, 1);
        rig.learn(HOST);
        rig.after(60_000);
        for _ in 0..3 {
            rig.after(1000).resolve(HOST, 2);
        }
        assert_eq!(rig.after(1000).resolve(HOST, 3), [Send(MAC, 3)]);
        assert_eq!(rig.resolve(HOST, 4), [Ask(HOST)]);
    }

    #[test]
    fn scan_is_bounded_and_does_not_push_out_the_gateway() {
        let mut rig = Rig::new();
        rig.resolve(GATEWAY, 0);
        rig.learn(GATEWAY);
        let refused = (0..1000u32).filter(|&host| {
            let hop = Ipv4Addr::from(0x0a01_0000 + host);
            rig.resolve(hop, host) == vec![Unreachable(host)]
        });
        assert_eq!(refused.count(), 1000 - 255);
        assert_eq!(rig.resolve(GATEWAY, 7), [Send(MAC, 7)]);
    }
}
