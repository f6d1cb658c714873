//! A plain, slow model of what the firewall may do with packets: an oracle at every ring.
//!
//! What leaves to the uplink must be something that exactly one client sent and its rules allow, translated
//! to our address, one hop further, once. What reaches a client must be the answer of exactly that far end to
//! exactly that client's flow. What the firewall says itself is known by its kind; its answers to pings are what was
//! asked.

use super::excuse::{Excuse, Judgements};
use super::fingerprint::{Fingerprint, Near, echoed, look};
use crate::base::time::Moment;
use crate::sim::cast::{CLIENT_GATEWAY, FORBIDDEN, NONSENSE_NETWORK};
use crate::sim::frame::{PlainPacket, is_arp};
use crate::sim::oracle::given_rules::GivenRules;
use crate::sim::oracle::rules::SlowRules;
use crate::xen::DomainId;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// After so long what was not forwarded will not be.
const FORGET_AFTER: Duration = Duration::from_secs(40);
/// A mapping that was silent so long may belong to another flow of the same client.
const QUIET: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct SentPacket {
    client: DomainId,
    near_port: u16,
    ttl: u8,
    at: Moment,
}

/// The outer end of a flow, as the far end sees it.
type OuterEnd = (u8, u16, Ipv4Addr, u16);

#[derive(Clone, Copy, Debug)]
struct OuterBinding {
    client: DomainId,
    /// Another client that it may be of: both had sent the same when it was made.
    candidate: Option<DomainId>,
    near_port: u16,
    used: Moment,
    phase: Phase,
    /// Its client's vif went since.
    is_left: bool,
}

impl OuterBinding {
    /// Whether its port may be another flow's at `now`.
    fn is_unused(&self, now: Moment) -> bool {
        self.is_left || self.phase.is_over() || now.since(self.used) > QUIET
    }
}

/// How far a TCP connection has come, as far as its port is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Phase {
    /// The client, and the far end, said that they send no more.
    finished: [bool; 2],
    /// One end broke it off.
    reset: bool,
}

impl Phase {
    /// Takes note of a packet of the client (0) or the far end (1).
    fn see(&mut self, end: usize, packet: &PlainPacket<'_>) {
        if let (6, Some(&flags)) = (packet.protocol(), packet.payload().get(13)) {
            self.finished[end] |= flags & 1 != 0;
            self.reset |= flags & 4 != 0;
        }
    }

    /// Its client may use the port for another connection, if it has no better one.
    fn is_over(self) -> bool {
        self.reset || self.finished == [true; 2]
    }
}

/// The model's memory.
#[derive(Debug, Default)]
pub struct Model {
    /// The rules, if the model is to judge.
    pub rules: Option<SlowRules>,
    /// In a qube what dom0 has given to whom, which counts in their place.
    pub given: Option<GivenRules>,
    /// Our address on the uplink.
    pub firewall: Option<Ipv4Addr>,
    /// The kernel had to give up ports before their quarantine was over: another client may have them then.
    pub ports_are_short: bool,
    /// Each honest client's address.
    pub clients: BTreeMap<DomainId, Ipv4Addr>,
    outward: BTreeMap<Fingerprint, Vec<SentPacket>>,
    inward: BTreeMap<Fingerprint, Vec<(u16, Moment)>>,
    bindings: BTreeMap<OuterEnd, OuterBinding>,
    /// Pings of our address on the uplink that were not answered yet: who asked what, how often.
    pings: BTreeMap<(Ipv4Addr, u64), u32>,
    remembered: usize,
    /// How many packets were judged.
    pub judgements: Judgements,
    /// Packets that the rules allow and that were forgotten before they were seen on the other side.
    lost: u64,
}

impl Model {
    /// A client puts a frame into its ring.
    pub fn client_sends(&mut self, client: DomainId, frame: &[u8], now: Moment) {
        self.forget(now);
        let packet = PlainPacket::of_frame(frame).filter(|packet| !packet.is_fragment());
        let Some((print, near_port, ttl)) = packet.and_then(|packet| look(&packet, Near::Source)) else {
            return;
        };
        // Only as itself may it be forwarded.
        if packet.is_some_and(|packet| {
            self.clients.get(&client).is_some_and(|own| own.octets() == packet.source())
        }) {
            self.outward.entry(print).or_default().push(SentPacket { client, near_port, ttl, at: now });
            self.remembered += 1;
        }
    }

    /// A client's vif goes, and its flows with it.
    pub fn client_leaves(&mut self, client: DomainId) {
        let bindings = self.bindings.values_mut().filter(|bound| bound.client == client);
        bindings.for_each(|bound| bound.is_left = true);
    }

    /// The uplink's backend puts a frame into its ring.
    pub fn uplink_sends(&mut self, frame: &[u8], now: Moment) {
        let Some(packet) = PlainPacket::of_frame(frame).filter(|packet| !packet.is_fragment()) else {
            return;
        };
        if packet.protocol() == 1 && packet.payload().first() == Some(&8) {
            let ping = (packet.source().into(), echoed(&packet));
            return *self.pings.entry(ping).or_default() += 1;
        }
        if let Some((print, port, _)) = look(&packet, Near::Destination) {
            self.inward.entry(print).or_default().push((port, now));
            self.remembered += 1;
        }
    }

    fn forget(&mut self, now: Moment) {
        if self.remembered < 50_000 {
            return;
        }
        let is_recent = |at: Moment| now.since(at) < FORGET_AFTER;
        self.lost += self.count_lost(|at| !is_recent(at));
        self.outward.retain(|_, list| {
            list.retain(|sent| is_recent(sent.at));
            !list.is_empty()
        });
        self.inward.retain(|_, list| {
            list.retain(|(_, at)| is_recent(*at));
            !list.is_empty()
        });
        self.remembered = self.outward.values().map(Vec::len).sum::<usize>()
            + self.inward.values().map(Vec::len).sum::<usize>();
        // What is recent is kept whatever its number.
        self.remembered = self.remembered.min(25_000);
    }

    /// Packets that should have been forwarded and were not, as far as is remembered: of clients, those that
    /// the rules allow; from the uplink, those that answer a client's flow.
    pub fn lost(&self) -> u64 {
        self.lost + self.count_lost(|_| true)
    }

    fn count_lost(&self, counts: impl Fn(Moment) -> bool) -> u64 {
        let Some(rules) = &self.rules else { return 0 };
        let mut lost = 0;
        for (print, list) in &self.outward {
            let port = matches!(print.protocol, 6 | 17).then_some(print.far_port);
            let is_private = print.far == CLIENT_GATEWAY;
            let accepted = |sent: &SentPacket| match (&self.given, self.clients.get(&sent.client)) {
                (Some(given), Some(own)) => given.must_accept(*own, print.far, print.protocol, port),
                _ => rules.accept(print.far, print.protocol, port),
            };
            let is_lost = |sent: &&SentPacket| sent.ttl > 1 && counts(sent.at) && accepted(sent);
            lost += if is_private { 0 } else { list.iter().filter(is_lost).count() };
        }
        for (print, list) in &self.inward {
            let expected = |&&(outer, at): &&(u16, Moment)| {
                counts(at) && self.bindings.contains_key(&(print.protocol, outer, print.far, print.far_port))
            };
            lost += list.iter().filter(expected).count();
        }
        lost as u64
    }

    /// What the uplink takes from its ring: that it is not as it must be is an error; else why it was not judged, if it
    /// was not.
    ///
    /// # Errors
    /// What is wrong with the packet.
    pub fn judge_outward(&mut self, frame: &[u8], now: Moment) -> Result<Option<Excuse>, String> {
        if is_arp(frame) {
            return Ok(Some(Excuse::Arp));
        }
        let Some((rules, firewall)) = self.rules.as_ref().zip(self.firewall) else {
            return Ok(Some(Excuse::NoRules));
        };
        let packet = PlainPacket::of_frame(frame).ok_or("neither ARP nor an IPv4 packet")?;
        let to: Ipv4Addr = packet.destination().into();
        if packet.source() != firewall.octets() {
            return Err(format!("a packet from {:?}, which is not our address", packet.source()));
        }
        if packet.is_echo_reply() && !packet.is_fragment() {
            let asked = self.pings.get_mut(&(to, echoed(&packet))).filter(|asked| **asked > 0);
            let asked = asked.ok_or(format!("an answer to {to}, which asked nothing"))?;
            *asked -= 1;
            return Ok(None);
        }
        let is_open = match &self.given {
            Some(given) => given.anybody_may(to, packet.protocol()),
            None => rules.accept(to, packet.protocol(), None),
        };
        if !is_open && to == FORBIDDEN {
            return Err(format!("protocol {} to {to}, which the rules refuse", packet.protocol()));
        }
        if is_open && to.octets()[..3] == NONSENSE_NETWORK {
            return Ok(Some(Excuse::Nonsense));
        }
        if packet.is_fragment() {
            return Ok(Some(Excuse::Fragment));
        }
        let Some((print, outer_port, ttl)) = look(&packet, Near::Source) else {
            return icmp_error(&packet).ok_or(format!("protocol {} to {to}", packet.protocol())).map(Some);
        };
        let outer: OuterEnd = (print.protocol, outer_port, print.far, print.far_port);
        let sent = self.take_sent(print, outer, ttl, now)?;
        let port = matches!(print.protocol, 6 | 17).then_some(print.far_port);
        if !self.may(sent.client, print, port) {
            return Err(format!(
                "protocol {} to {to}:{}, which the rules refuse",
                print.protocol, print.far_port
            ));
        }
        self.bind(print, outer, sent, &packet, now);
        Ok(None)
    }

    /// Whether the client's rules may allow this.
    fn may(&self, client: DomainId, print: Fingerprint, port: Option<u16>) -> bool {
        match (&self.given, self.clients.get(&client)) {
            (Some(given), Some(&own)) => given.may_accept(own, print.far, print.protocol, port),
            _ => self.rules.as_ref().is_some_and(|rules| rules.accept(print.far, print.protocol, port)),
        }
    }

    /// The packet of a client that left as this one, one hop further; it can leave only once.
    fn take_sent(
        &mut self,
        print: Fingerprint,
        outer: OuterEnd,
        ttl: u8,
        now: Moment,
    ) -> Result<SentPacket, String> {
        let present = self.bindings.get(&outer).copied();
        let ports_are_short = self.ports_are_short;
        let fits = |sent: &SentPacket| {
            sent.ttl.checked_sub(1) == Some(ttl)
                && present.is_none_or(|bound| {
                    let is_unused = bound.is_unused(now);
                    bound.candidate == Some(sent.client)
                        || bound.client == sent.client && (bound.near_port == sent.near_port || is_unused)
                        || ports_are_short && is_unused
                })
        };
        let list = self.outward.get_mut(&print);
        let found = list.and_then(|list| {
            let place = list.iter().position(fits)?;
            Some(list.remove(place))
        });
        found.ok_or_else(|| {
            // The far end may have opened the flow, or a client its answer; nobody here does.
            let like = self.outward.get(&print);
            format!(
                "what no client sent: protocol {}, {}:{} from port {}, ttl {ttl}; it belongs to {present:?}, the like of it was sent: {like:?}",
                print.protocol, print.far, print.far_port, outer.1
            )
        })
    }

    /// From now on the far end answers to this flow.
    fn bind(
        &mut self,
        print: Fingerprint,
        outer: OuterEnd,
        sent: SentPacket,
        packet: &PlainPacket<'_>,
        now: Moment,
    ) {
        let present = self.bindings.get(&outer).copied();
        // Two clients may send the same: then nobody can tell yet whose the mapping is.
        let like =
            self.outward.get(&print).and_then(|list| list.iter().find(|like| like.client != sent.client));
        let candidate = like.filter(|_| present.is_none()).map(|like| like.client);
        let kept = present.filter(|bound| bound.near_port == sent.near_port);
        let mut phase = kept.map(|bound| bound.phase).unwrap_or_default();
        phase.see(0, packet);
        let SentPacket { client, near_port, .. } = sent;
        let binding = OuterBinding { client, near_port, candidate, used: now, phase, is_left: false };
        self.bindings.insert(outer, binding);
    }

    /// What a client takes from its ring, likewise.
    ///
    /// # Errors
    /// What is wrong with the packet.
    pub fn judge_inward(
        &mut self,
        client: DomainId,
        frame: &[u8],
        now: Moment,
    ) -> Result<Option<Excuse>, String> {
        if is_arp(frame) {
            return Ok(Some(Excuse::Arp));
        }
        if self.rules.is_none() {
            return Ok(Some(Excuse::NoRules));
        }
        let packet = PlainPacket::of_frame(frame).ok_or("neither ARP nor an IPv4 packet")?;
        let Some(own) = self.clients.get(&client) else { return Ok(Some(Excuse::Attacker)) };
        if packet.destination() != own.octets() {
            return Err(format!("a packet for {:?}", packet.destination()));
        }
        if packet.is_fragment() {
            return Ok(Some(Excuse::Fragment));
        }
        let from: Ipv4Addr = packet.source().into();
        let Some((print, near_port, _)) = look(&packet, Near::Destination) else {
            return icmp_error(&packet)
                .ok_or(format!("protocol {} from {from}", packet.protocol()))
                .map(Some);
        };
        if let Some(bound) = self.take_answered(print, client, near_port) {
            bound.used = now;
            bound.phase.see(1, &packet);
            return Ok(None);
        }
        if print.protocol == 6 && packet.payload().get(13).is_some_and(|flags| flags & 4 != 0) {
            return Ok(Some(Excuse::OwnReset));
        }
        if packet.is_echo_reply() {
            return Ok(Some(Excuse::OwnEchoReply));
        }
        Err(format!(
            "protocol {} from {from}:{} for port {near_port}, nobody's answer",
            print.protocol, print.far_port
        ))
    }

    /// The flow of `client` that the far end answered with this; it can answer with it only once.
    fn take_answered(
        &mut self,
        print: Fingerprint,
        client: DomainId,
        near_port: u16,
    ) -> Option<&mut OuterBinding> {
        let list = self.inward.get_mut(&print)?;
        let bindings = &mut self.bindings;
        let place = list.iter().position(|&(outer, _)| {
            bindings.get(&(print.protocol, outer, print.far, print.far_port)).is_some_and(|bound| {
                bound.candidate == Some(client) || bound.client == client && bound.near_port == near_port
            })
        })?;
        let (outer, _) = list.remove(place);
        bindings.get_mut(&(print.protocol, outer, print.far, print.far_port))
    }
}

/// The excuse of an ICMP error.
fn icmp_error(packet: &PlainPacket<'_>) -> Option<Excuse> {
    let errors = packet.protocol() == 1 && matches!(packet.payload().first(), Some(3 | 4 | 11 | 12));
    errors.then_some(Excuse::IcmpError)
}
