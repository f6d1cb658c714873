//! Neighbours on the uplink: from next hop to Ethernet address, by ARP (RFC 826, RFC 1122 section 2.3.2).
//!
//! Pure: what is to be sent goes to a [`NeighbourOutput`]. A question is an ARP request. A hop is asked for once a
//! second while there are packets for it; after three questions without an answer the packets that wait are given up. A
//! question that could not be sent counts as not asked: it is asked with the next packet. Only hops that are in use are
//! listened to: nothing that is heard makes an entry.
//!
//! What packets cause is on their senders' accounts and bounded there: questions and their pages, hops that have not
//! answered ([`silent`]), packets that wait ([`waiting`]). Hops that answered have a room of their own, which silent
//! ones never take.
//!
//! The gateway is special. It has its place before anybody asks for it, and no client pays for its questions. When it
//! does not answer, the address of every Xen backend is used, because some backends forward without speaking ARP; it is
//! asked for all the same, and the first answer is taken.

pub(crate) mod binding;
pub(crate) mod bounded;
pub(crate) mod hops;
pub(crate) mod request_allowances;
pub(crate) mod silent;
mod solicitation;
pub mod waiting;

use self::binding::{ArpOrigin, Binding};
use self::bounded::Bounds;
use self::hops::Hops;
use self::request_allowances::RequestAllowances;
use self::silent::{Silent, SilentDue, SilentHop, Tries};
use self::solicitation::ASK_EVERY;
pub use self::solicitation::Solicited;
use self::waiting::{Charged, LineId, WaitingPackets};
use crate::base::time::Moment;
use crate::tables::allowance::Taken;
use crate::tables::share::Account;
use crate::wire::ethernet::Mac;
use core::net::Ipv4Addr;

/// Bounds of the hops that answered: one account may have all of them while others do not want the room.
const KNOWN: Bounds = Bounds { total: 512, per_account: 512 };
/// On whose account the gateway is asked for.
const GATEWAY_ASKER: Account = Account::UPLINK;
/// Where packets for the gateway wait: behind the lines of silent hops.
const GATEWAY_LINE: LineId = LineId(silent::HOPS.total as usize);

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum NeighbourEffect<P> {
    /// Send the packet to this address.
    Send(Mac, P),
    /// The packet's next hop does not answer.
    Unreachable(P),
    /// Others took its place while it waited.
    Displaced(P),
    /// Its sender has left.
    Abandoned(P),
}

/// Carries out what the neighbour table asks for.
pub trait NeighbourOutput<P> {
    /// Broadcasts a question for `hop` on the account of `asker`; says whether it could.
    fn ask(&mut self, hop: Ipv4Addr, asker: Account) -> Solicited;

    /// Does with a packet what `event` says.
    fn emit(&mut self, event: NeighbourEffect<P>);
}

/// The gateway: never forgotten, never given up.
struct Gateway {
    address: Ipv4Addr,
    /// Where it is taken to be when it does not answer.
    fallback: Mac,
    state: State,
}

/// What is known of the gateway.
enum State {
    /// Nobody wanted it yet.
    Unused,
    /// It has not answered, and packets wait.
    Silent(SilentHop),
    /// It is there, or taken to be.
    Bound(Binding),
}

/// A hop whose Ethernet address is known, and about which there is nothing to ask before `until`.
#[derive(Clone, Copy, Debug)]
struct Known {
    hop: Ipv4Addr,
    mac: Mac,
    until: Moment,
}

/// The neighbour table.
pub struct Neighbours<P> {
    /// The hop that was sent to last: nearly always the next packet's, too.
    last: Option<Known>,
    gateway: Gateway,
    known: Hops<Binding>,
    silent: Silent,
    waiting: WaitingPackets<P>,
    questions: RequestAllowances,
}

impl<P: Charged> Neighbours<P> {
    /// A table in which `gateway` is taken to be at `fallback` when it does not answer.
    pub fn new(gateway: Ipv4Addr, fallback: Mac) -> Self {
        Self {
            last: None,
            gateway: Gateway { address: gateway, fallback, state: State::Unused },
            known: Hops::new(KNOWN),
            silent: Silent::default(),
            waiting: WaitingPackets::new(GATEWAY_LINE.0 + 1),
            questions: RequestAllowances::default(),
        }
    }

    /// Replaces the gateway's address. Nobody knows yet where it is: [`Self::clear`] is to follow, for what waits.
    pub fn set_gateway(&mut self, address: Ipv4Addr) {
        self.gateway.address = address;
    }

    /// Where `hop` is, if the last packet went there a moment ago: then there is nothing to ask.
    #[inline(always)]
    pub fn known(&self, hop: Ipv4Addr, now: Moment) -> Option<Mac> {
        self.last.filter(|last| last.hop == hop && now < last.until).map(|last| last.mac)
    }

    /// Sends `packet` to `hop`, or has it wait until the hop answers.
    pub fn resolve(&mut self, hop: Ipv4Addr, packet: P, now: Moment, output: &mut dyn NeighbourOutput<P>) {
        match self.last {
            Some(last) if last.hop == hop && now < last.until => {
                output.emit(NeighbourEffect::Send(last.mac, packet))
            }
            _ if hop == self.gateway.address => self.resolve_gateway(packet, now, output),
            _ => self.look_up(hop, packet, now, output),
        }
    }

    fn resolve_gateway(&mut self, packet: P, now: Moment, output: &mut dyn NeighbourOutput<P>) {
        let hop = self.gateway.address;
        let mut ask = || output.ask(hop, GATEWAY_ASKER);
        match &mut self.gateway.state {
            State::Bound(binding) => {
                if now >= binding.quiet_until() && ask() == Solicited::Yes {
                    binding.ask(now);
                }
                let binding = *binding;
                return self.send(hop, binding, packet, now, output);
            }
            State::Silent(silence) if silence.is_asked(now) => {}
            State::Silent(silence) => silence.note(ask(), now),
            State::Unused => {
                let mut silence = SilentHop::new(now);
                silence.note(ask(), now);
                self.gateway.state = State::Silent(silence);
            }
        }
        self.waiting.join(GATEWAY_LINE, packet, |packet| output.emit(NeighbourEffect::Displaced(packet)));
    }

    fn look_up(&mut self, hop: Ipv4Addr, packet: P, now: Moment, output: &mut dyn NeighbourOutput<P>) {
        if let Some(place) = self.known.find(hop, |_, _| true) {
            self.known.renew(place);
            if let Some(binding) = self.known.get_mut(place).filter(|binding| !binding.gave_up(now)) {
                if now >= binding.quiet_until()
                    && ask(&mut self.questions, packet.account(), hop, now, output) == Solicited::Yes
                {
                    binding.ask(now);
                }
                let binding = *binding;
                return self.send(hop, binding, packet, now, output);
            }
            self.known.remove(place);
        }
        self.wait(hop, packet, now, output);
    }

    /// Sends to a hop whose address is known, and remembers it for the next packet. Not for longer than a second, so that
    /// it stays known which hops are used.
    fn send(
        &mut self,
        hop: Ipv4Addr,
        binding: Binding,
        packet: P,
        now: Moment,
        output: &mut dyn NeighbourOutput<P>,
    ) {
        let until = binding.quiet_until().min(now + ASK_EVERY);
        self.last = Some(Known { hop, mac: binding.mac(), until });
        output.emit(NeighbourEffect::Send(binding.mac(), packet));
    }

    fn wait(&mut self, hop: Ipv4Addr, packet: P, now: Moment, output: &mut dyn NeighbourOutput<P>) {
        let Self { silent, waiting, questions, .. } = self;
        let entered = silent.enter(packet.account(), hop, now, |line| {
            while let Some(packet) = waiting.next(line) {
                output.emit(NeighbourEffect::Displaced(packet));
            }
        });
        let Some(place) = entered else { return output.emit(NeighbourEffect::Displaced(packet)) };
        silent.ask(place, now, |account, hop| ask(questions, account, hop, now, output));
        waiting.join(silent::line(place), packet, |packet| output.emit(NeighbourEffect::Displaced(packet)));
    }

    /// Takes in an ARP packet, whatever its opcode: it says that `address` is at `mac`. Without effect unless that
    /// address is a hop in use.
    pub fn learn(
        &mut self,
        address: Ipv4Addr,
        mac: Mac,
        claim: ArpOrigin,
        now: Moment,
        output: &mut dyn NeighbourOutput<P>,
    ) {
        self.last = self.last.filter(|last| last.hop != address);
        if address == self.gateway.address {
            return self.hear_gateway(mac, claim, now, output);
        }
        if let Some(place) = self.known.find(address, |_, _| true)
            && let Some(binding) = self.known.get_mut(place)
        {
            return binding.hear(mac, claim, now);
        }
        let mut is_new = true;
        while let Some((account, line, silence)) = self.silent.found(address) {
            if core::mem::replace(&mut is_new, false) {
                let binding = Binding::heard(mac, claim, silence.asked, now);
                // The hop that made room for it, if any, may be the one that `last` remembers.
                self.known.insert(account, address, binding, |_| self.last = None);
            }
            self.send_waiting(line, mac, output);
        }
    }

    fn hear_gateway(&mut self, mac: Mac, claim: ArpOrigin, now: Moment, output: &mut dyn NeighbourOutput<P>) {
        match &mut self.gateway.state {
            State::Bound(binding) => binding.hear(mac, claim, now),
            State::Silent(silence) => {
                self.gateway.state = State::Bound(Binding::heard(mac, claim, silence.asked, now));
                self.send_waiting(GATEWAY_LINE, mac, output);
            }
            State::Unused => {}
        }
    }

    fn send_waiting(&mut self, line: LineId, mac: Mac, output: &mut dyn NeighbourOutput<P>) {
        while let Some(packet) = self.waiting.next(line) {
            output.emit(NeighbourEffect::Send(mac, packet));
        }
    }

    /// Asks again, and gives up on hops that did not answer.
    pub fn advance(&mut self, now: Moment, output: &mut dyn NeighbourOutput<P>) {
        while let Some(due) = self.silent.advance(now) {
            match due {
                SilentDue::Try(place) => {
                    let questions = &mut self.questions;
                    self.silent.ask(place, now, |account, hop| ask(questions, account, hop, now, output));
                }
                SilentDue::GiveUp(line) => self.give_up(line, output),
            }
        }
        let Gateway { address, fallback, ref mut state } = self.gateway;
        let State::Silent(silence) = state else { return };
        if now < silence.due() {
            return;
        }
        match silence.try_again(now) {
            Tries::Left if silence.is_asked(now) => {}
            Tries::Left => silence.note(output.ask(address, GATEWAY_ASKER), now),
            Tries::Over => {
                *state = State::Bound(Binding::assumed(fallback, silence.asked));
                self.send_waiting(GATEWAY_LINE, fallback, output);
            }
        }
    }

    fn give_up(&mut self, line: LineId, output: &mut dyn NeighbourOutput<P>) {
        while let Some(packet) = self.waiting.next(line) {
            output.emit(NeighbourEffect::Unreachable(packet));
        }
    }

    /// When [`Self::advance`] has something to do.
    pub fn deadline(&self) -> Option<Moment> {
        let gateway = match &self.gateway.state {
            State::Silent(silence) => Some(silence.due()),
            State::Unused | State::Bound(_) => None,
        };
        self.silent.deadline().into_iter().chain(gateway).min()
    }

    /// Forgets everything, for a new uplink. What waits comes out as unreachable.
    pub fn clear(&mut self, output: &mut dyn NeighbourOutput<P>) {
        self.last = None;
        self.gateway.state = State::Unused;
        while let Some(place) = self.known.any() {
            self.known.remove(place);
        }
        while let Some(line) = self.silent.pop() {
            self.give_up(line, output);
        }
        self.give_up(GATEWAY_LINE, output);
    }

    /// Gives up all that waits on `account`: its sender has left, and what becomes of it is nobody else's to know.
    pub fn abandon(&mut self, account: Account, output: &mut dyn NeighbourOutput<P>) {
        while let Some(packet) = self.waiting.next_of(account) {
            output.emit(NeighbourEffect::Abandoned(packet));
        }
    }

    /// What `account` has: pages that wait, hops that have not answered, hops that did. To look at.
    pub fn holdings(&self, account: Account) -> NeighbourHoldings {
        NeighbourHoldings {
            pages: self.waiting.pages(account),
            silent: self.silent.held(account),
            known: self.known.held(account),
        }
    }
}

/// Sends a question if `account` has one left.
fn ask<P>(
    questions: &mut RequestAllowances,
    account: Account,
    hop: Ipv4Addr,
    now: Moment,
    output: &mut dyn NeighbourOutput<P>,
) -> Solicited {
    match questions.take(account, now) {
        Taken::Granted => output.ask(hop, account),
        Taken::Exhausted => Solicited::No,
    }
}

/// What one account has in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourHoldings {
    /// Pages of packets that wait.
    pub pages: u32,
    /// Hops that have not answered.
    pub silent: u32,
    /// Hops that did.
    pub known: u32,
}

#[cfg(test)]
mod tests;
