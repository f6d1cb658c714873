//! The journey of a packet: read, judged, remembered, rewritten, directed.
//!
//! A pure function of its tables, the time and a packet: no hypervisor, no allocation per packet, no unsafe.
//! Headers are rewritten in place; payloads are never looked at. Every packet that goes in comes out through
//! exactly one call of [`Outlet::forward`], [`Outlet::fragment`] or [`Outlet::discard`], now or, of fragments
//! that wait, later.

mod answer;
pub mod clients;
pub mod engine;
mod errors;
mod fragments;
mod inbound;
pub mod mtus;
mod notice;
mod open;
mod outbound;
mod pass;
mod ping;
mod reconfigure;
pub mod review;
mod room;
pub mod settings;
mod unreachable;
mod walk;

use core::net::Ipv4Addr;

use self::engine::{Engine, Footing, Parcel, Verdict};
pub use self::review::Progress;
pub use self::settings::Settings;
use crate::client::{ClientSlot, Side};
use crate::counters::{Counters, Drop};
use crate::flow::fragments::Fragments;
use crate::flow::share::{Account, Membership};
use crate::flow::tick::Tick;
use crate::guard::RuleTable;
use crate::packet::{Datagram, Gso, Offload};
use crate::route::segmentation::Segmented;
use crate::time::{Moment, UnixSeconds};
use crate::wire::ipv4::{Ipv4, Ipv4Fault, Part};

/// Where packets leave the engine.
pub trait Outlet<D> {
    /// `packet` was rewritten and leaves by `to`. It fits that side's MTU, or its GSO segments do.
    fn forward(&mut self, to: Side, packet: D);

    /// The engine made an IP packet: an ICMP error or a RST, at most 576 bytes.
    fn answer(&mut self, to: Side, packet: &[u8]);

    /// `packet` was rewritten, leaves by `to`, and must be cut into fragments of at most `mtu` bytes.
    fn fragment(&mut self, to: Side, packet: D, mtu: u16);

    /// Cuts link-layer padding off `packet`, so that its IP packet has `total_bytes`, fewer than before, and takes the
    /// memory behind that back.
    fn trim(&mut self, packet: &mut D, total_bytes: usize);

    /// `packet` goes nowhere.
    fn discard(&mut self, packet: D, why: Drop);
}

/// Flows looked at in one call of [`Journey::advance`].
const BUDGET: usize = 512;

/// The engine and the packets it holds.
pub struct Journey<D: Datagram> {
    engine: Engine,
    fragments: Fragments<D>,
}

impl From<Ipv4Fault> for Drop {
    fn from(fault: Ipv4Fault) -> Drop {
        match fault {
            Ipv4Fault::Short => Drop::IpShort,
            Ipv4Fault::Version => Drop::IpVersion,
            Ipv4Fault::HeaderLength => Drop::IpHeaderLength,
            Ipv4Fault::TotalLength => Drop::IpTotalLength,
            Ipv4Fault::Checksum => Drop::IpChecksum,
            Ipv4Fault::Fragment => Drop::FragmentShape,
        }
    }
}

impl<D: Datagram> Journey<D> {
    /// An engine with empty tables and no clients. All its memory is allocated here; `secret` must be random.
    pub fn new(settings: Settings, rules: RuleTable, secret: [u8; 32], now: Moment) -> Self {
        Self::on(Footing::Secret, settings, rules, secret, now)
    }

    /// An engine under the secret that the CPU's generator gave at boot, if it gave one. Without, nothing is
    /// forwarded, whatever the rules are and will be, and the log says so (conformance P-11).
    pub fn boot(settings: Settings, rules: RuleTable, entropy: Option<[u8; 32]>, now: Moment) -> Self {
        match entropy {
            Some(secret) => Self::on(Footing::Secret, settings, rules, secret, now),
            None => {
                log::error!("the CPU has no working random generator: nothing is forwarded");
                Self::on(Footing::Guessable, settings, rules, [0; 32], now)
            }
        }
    }

    fn on(footing: Footing, settings: Settings, rules: RuleTable, secret: [u8; 32], now: Moment) -> Self {
        let engine = Engine::new(settings, rules, secret, footing, now);
        let fragments = engine.new_fragments(&secret);
        Journey { engine, fragments }
    }

    /// Attaches a client with its one `address`. A client that had the slot or the address is detached first. Returns its
    /// account, which belongs to the address.
    pub fn attach(&mut self, slot: ClientSlot, address: Ipv4Addr, now: Moment) -> Option<Account> {
        self.detach(slot, now);
        if let Some(other) = self.engine.clients().slot_of(address) {
            self.detach_number(other, now);
        }
        let account = Account::client(self.engine.attach(slot, address, now)?);
        self.fragments.set_membership(account, Membership::Member);
        Some(account)
    }

    /// Detaches the client on `slot`: its flows are over and its ports rest before anybody else gets them. What it
    /// holds stays on its account and waits for it there, as far as it is used up (conformance S-1). Its fragments that
    /// waited leave with the next [`Journey::advance`], which is due at once.
    pub fn detach(&mut self, slot: ClientSlot, now: Moment) {
        if let Some(number) = self.engine.clients().on(slot) {
            self.detach_number(number, now);
        }
    }

    fn detach_number(&mut self, number: ClientSlot, now: Moment) {
        self.engine.detach(number, now);
        let account = Account::client(number);
        self.fragments.condemn(|from, passage| {
            from == account || passage.is_some_and(|passage| passage.to == Side::Client(number))
        });
        self.fragments.set_membership(account, Membership::Guest);
    }

    /// Replaces the rules: flows that are now forbidden stop, those still allowed continue.
    pub fn set_rules(&mut self, rules: RuleTable, now: Moment) {
        self.engine.set_rules(rules, now);
    }

    /// Sets the MTU of `side`, in bytes of an IP packet; less than [`mtus::LEAST`] or more than [`mtus::MOST`] counts as
    /// that. Holds from the next packet on: larger ones are answered with "too big" or cut. A client's holds until the
    /// slot is attached anew.
    pub fn set_mtu(&mut self, side: Side, bytes: u16) {
        if let Some(side) = self.engine.clients().inside(side) {
            self.engine.set_mtu(side, bytes);
        }
    }

    /// Tells the wall clock, for rules that expire. It runs on with system time from there.
    pub fn set_wall_clock(&mut self, now: Moment, unix: UnixSeconds) {
        self.engine.set_wall_clock(now, unix);
    }

    /// Takes an IPv4 packet from the client on `from`.
    pub fn outbound(&mut self, now: Moment, from: ClientSlot, packet: D, outlet: &mut impl Outlet<D>) {
        self.take(now, Side::Client(from), packet, outlet);
    }

    /// Takes an IPv4 packet from the uplink.
    pub fn inbound(&mut self, now: Moment, packet: D, outlet: &mut impl Outlet<D>) {
        self.take(now, Side::Uplink, packet, outlet);
    }

    /// Takes a packet back that was to leave by the uplink, whose next hop does not answer. The client that
    /// sent it is told (RFC 1122 section 2.3.2.1, type 3 code 1).
    pub fn unreachable(&mut self, now: Moment, mut packet: D, outlet: &mut impl Outlet<D>) {
        let total = packet.total_bytes();
        if let Ok(ip) = Ipv4::read(packet.header(), total) {
            let offload = packet.offload();
            self.engine.report_unreachable(now, &mut Parcel { header: packet.header(), ip, offload });
        }
        self.send_answer(outlet);
        self.discard(packet, Drop::Unreachable, outlet);
    }

    /// Does what time has brought due, a bounded amount per call.
    pub fn advance(&mut self, now: Moment, outlet: &mut impl Outlet<D>) -> Progress {
        self.expire_fragments(now, outlet);
        self.engine.advance(now, BUDGET)
    }

    /// When [`Journey::advance`] has something to do; a moment in the past when it has now.
    pub fn next_deadline(&self) -> Option<Moment> {
        let fragments = self.fragments.next_deadline().map(Tick::begins);
        self.engine.next_deadline().into_iter().chain(fragments).min()
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        self.engine.counters()
    }

    /// The tables, to look at.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The datagrams that are arriving in pieces, to look at.
    pub const fn fragments(&self) -> &Fragments<D> {
        &self.fragments
    }

    fn take(&mut self, now: Moment, from: Side, mut packet: D, outlet: &mut impl Outlet<D>) {
        let available = packet.total_bytes();
        let ip = match Ipv4::read(packet.header(), available) {
            Ok(ip) => ip,
            Err(fault) => return self.discard(packet, fault.into(), outlet),
        };
        if usize::from(ip.total_bytes) < available {
            outlet.trim(&mut packet, usize::from(ip.total_bytes));
        }
        let Some(from) = self.engine.clients().inside(from) else {
            return self.discard(packet, Drop::NoClient, outlet);
        };
        let offload = packet.offload();
        let mut parcel = Parcel { header: packet.header(), ip, offload };
        if let Err(why) = self.engine.screen(from, &parcel) {
            return self.discard(packet, why, outlet);
        }
        if ip.part != Part::Whole {
            return self.take_fragment(now, from, packet, outlet);
        }
        let verdict = self.engine.judge_packet(now, from, &mut parcel);
        self.carry_out(from, packet, &ip, verdict, outlet);
    }

    /// Does with `packet` what the engine decided.
    fn carry_out(&mut self, from: Side, packet: D, ip: &Ipv4, verdict: Verdict, outlet: &mut impl Outlet<D>) {
        self.send_answer(outlet);
        match verdict {
            Verdict::Discard(why) => self.discard(packet, why, outlet),
            Verdict::Forward(passage) => match packet.offload().gso {
                Some(gso) => self.forward_segmented(from, passage.to, packet, *ip, gso, outlet),
                None => {
                    let Some(exit) = self.engine.clients().outside(passage.to) else {
                        return self.discard(packet, Drop::NoClient, outlet);
                    };
                    self.engine.count_forwarded(from, passage.to, 1);
                    let mtu = self.engine.mtu(passage.to);
                    if ip.total_bytes > mtu {
                        outlet.fragment(exit, packet, mtu);
                    } else {
                        outlet.forward(exit, packet);
                    }
                }
            },
        }
    }

    /// Forwards a packet that its receiver is to segment, in segments that fit: those of one that may be cut are made
    /// smaller where an honest sender's others are cut in two. The header is handed over by value, so that those of
    /// other packets stay in registers.
    #[inline(never)]
    fn forward_segmented(
        &mut self,
        from: Side,
        to: Side,
        mut packet: D,
        ip: Ipv4,
        gso: Gso,
        outlet: &mut impl Outlet<D>,
    ) {
        let Some(exit) = self.engine.clients().outside(to) else {
            return self.discard(packet, Drop::NoClient, outlet);
        };
        let asked = Segmented::of(packet.header(), &ip, gso.segment_bytes);
        // What fits in no way has been turned back.
        let made = asked.within(self.engine.mtu(to)).unwrap_or(asked);
        if made != asked {
            let gso = Some(Gso { segment_bytes: made.segment_bytes(), ..gso });
            packet.set_offload(Offload { gso, ..packet.offload() });
        }
        self.engine.count_forwarded(from, to, made.count());
        outlet.forward(exit, packet);
    }

    /// Sends the answer that the last packet asked for.
    fn send_answer(&mut self, outlet: &mut impl Outlet<D>) {
        if let Some((to, answer)) = self.engine.take_answer() {
            outlet.answer(to, answer);
        }
    }

    fn discard(&mut self, packet: D, why: Drop, outlet: &mut impl Outlet<D>) {
        self.engine.count_drop(why);
        outlet.discard(packet, why);
    }
}
