//! The engine of a packet: read, judged, remembered, rewritten, directed.
//!
//! A pure function of its tables, the time and a packet: no hypervisor, no allocation per packet, no unsafe.
//! Headers are rewritten in place; payloads are never looked at. Every packet that goes in comes out through
//! exactly one call of [`Output::forward`], [`Output::fragment`], [`Output::receive`] or [`Output::discard`], now or, of fragments
//! that wait, later.
#![forbid(unsafe_code)]

pub(crate) mod clients;
pub(crate) mod counters;
pub(crate) mod datapath;
mod established;
pub mod fast_path;
mod fragments;
mod icmp_error;
mod inbound;
pub mod inside;
pub(crate) mod mtus;
mod open;
mod outbound;
mod own;
pub mod own_datagram;
pub mod passed_packet;
mod ping;
mod reconfigure;
mod reply;
pub(crate) mod revalidate;
mod room;
mod second;
pub mod seed;
pub mod settings;
pub mod small;
mod spared;
mod transport;
mod unreachable;
pub mod visible;
mod walk;
mod warn;

use core::net::Ipv4Addr;

use self::datapath::{Datapath, Entropy, PacketView, Verdict};
use self::own_datagram::OwnDatagram;
use self::passed_packet::PassedPacket;
pub use self::revalidate::Progress;
pub use self::settings::Settings;
use crate::base::bug::OrBug;
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::base::tick::Tick;
use crate::base::time::{Moment, UnixSeconds};
use crate::engine::counters::Counters;
use crate::flow::fragments::Fragments;
use crate::guard::RuleTable;
use crate::guard::rule_update::RuleUpdate;
use crate::nat::translation::Translation;
use crate::route::segmentation::Segmented;
use crate::tables::share::{Account, Membership};
use crate::wire::frame_view::FrameView;
use crate::wire::ipv4::{Ipv4, Ipv4Fault, Part};
use crate::wire::packet::{Gso, Offload, Packet};

/// Where packets leave the engine.
pub trait Output<D> {
    /// `packet` came from `from`, and its header says `ip`. Cuts off what lies behind the IP packet's end, and notes
    /// what has to be known of it later. The error is a reason to drop it that only the packet's owner can know, unlike
    /// rules, flows and addresses, which the engine knows.
    fn admit(&mut self, from: Side, packet: &mut D, ip: &Ipv4) -> Result<(), DropReason>;

    /// `packet` was rewritten and leaves by `to` for `destination`. It fits that side's MTU, or its GSO segments do.
    fn forward(&mut self, to: Side, packet: D, destination: Ipv4Addr);

    /// The engine made an IP packet: an ICMP error or a RST, at most 576 bytes.
    fn reply(&mut self, to: Side, packet: &[u8], destination: Ipv4Addr);

    /// `packet` was rewritten, says what `ip` says, leaves by `to`, and must be cut into fragments of at most `mtu`
    /// bytes.
    fn fragment(&mut self, to: Side, packet: D, ip: &Ipv4, mtu: u16);

    /// `packet` was for a port of ours, and ends here. Whoever has none discards it.
    fn receive(&mut self, packet: D, _: OwnDatagram) {
        self.discard(packet, DropReason::ForFirewall);
    }

    /// `packet` goes nowhere.
    fn discard(&mut self, packet: D, why: DropReason);
}

/// Flows looked at in one call of [`Engine::advance`].
const BUDGET: usize = 512;

/// The engine and the packets it holds.
pub struct Engine<D: Packet> {
    datapath: Datapath,
    fragments: Fragments<D>,
}

impl From<Ipv4Fault> for DropReason {
    fn from(fault: Ipv4Fault) -> DropReason {
        match fault {
            Ipv4Fault::Short => DropReason::IpShort,
            Ipv4Fault::Version => DropReason::IpVersion,
            Ipv4Fault::HeaderLength => DropReason::IpHeaderLength,
            Ipv4Fault::TotalLength => DropReason::IpTotalLength,
            Ipv4Fault::Checksum => DropReason::IpChecksum,
            Ipv4Fault::Fragment => DropReason::FragmentShape,
        }
    }
}

impl<D: Packet> Engine<D> {
    /// An engine with empty tables and no clients. All its memory is allocated here; `secret` must be random.
    pub fn new(settings: Settings, rules: RuleTable, secret: [u8; 32], now: Moment) -> Self {
        Self::on(Entropy::Available, settings, rules, secret, now)
    }

    /// An engine under the secret that the CPU's generator gave at boot, if it gave one. Without, nothing is
    /// forwarded, whatever the rules are and will be, and the log says so (conformance P-11).
    pub fn boot(settings: Settings, rules: RuleTable, entropy: Option<[u8; 32]>, now: Moment) -> Self {
        match entropy {
            Some(secret) => Self::on(Entropy::Available, settings, rules, secret, now),
            None => {
                log::error!("the CPU has no working random generator: nothing is forwarded");
                Self::on(Entropy::Missing, settings, rules, [0; 32], now)
            }
        }
    }

    fn on(entropy: Entropy, settings: Settings, rules: RuleTable, secret: [u8; 32], now: Moment) -> Self {
        let engine = Datapath::new(settings, rules, secret, entropy, now);
        let fragments = engine.new_fragments(&secret);
        Engine { datapath: engine, fragments }
    }

    /// Attaches a client with its one `address`. A client that had the slot or the address is detached first. Returns its
    /// account, which belongs to the address.
    pub fn attach(&mut self, slot: ClientSlot, address: Ipv4Addr, now: Moment) -> Option<Account> {
        self.detach(slot, now);
        if let Some(other) = self.datapath.clients().slot_of(address) {
            self.detach_number(other, now);
        }
        let account = Account::client(self.datapath.attach(slot, address, now)?);
        self.fragments.set_membership(account, Membership::Member);
        Some(account)
    }

    /// Detaches the client on `slot`: its flows are over and its ports are in quarantine before anybody else gets them. What it
    /// holds stays on its account and waits for it there, as far as it is used up (conformance S-1). Its fragments that
    /// waited leave with the next [`Engine::advance`], which is due at once.
    pub fn detach(&mut self, slot: ClientSlot, now: Moment) {
        if let Some(number) = self.datapath.clients().on(slot) {
            self.detach_number(number, now);
        }
    }

    fn detach_number(&mut self, number: ClientSlot, now: Moment) {
        self.datapath.detach(number, now);
        let account = Account::client(number);
        self.fragments.cancel(|from, translation| {
            from == account || translation.is_some_and(|translation| translation.to == Side::Client(number))
        });
        self.fragments.set_membership(account, Membership::Guest);
    }

    /// Replaces the rules: flows that are now forbidden stop, those still allowed continue.
    pub fn set_rules(&mut self, rules: RuleTable, now: Moment) {
        self.datapath.set_rules(rules, now);
    }

    /// Takes up live rules: flows that are now forbidden stop, those still allowed continue.
    pub fn update_rules(&mut self, update: RuleUpdate, now: Moment) {
        self.datapath.update_rules(update, now);
    }

    /// Sets the MTU of `side`, in bytes of an IP packet; less than [`LEAST`](crate::wire::mtu::LEAST) or more than
    /// [`MOST`](crate::wire::mtu::MOST) counts as that. Holds from the next packet on: larger ones are answered with "too big" or cut. A client's holds until the
    /// slot is attached anew.
    pub fn set_mtu(&mut self, side: Side, bytes: u16) {
        if let Some(side) = self.datapath.clients().inside(side) {
            self.datapath.set_mtu(side, bytes);
        }
    }

    /// Tells the wall clock, for rules that expire. It runs on with system time from there.
    pub fn set_wall_clock(&mut self, now: Moment, unix: UnixSeconds) {
        self.datapath.set_wall_clock(now, unix);
    }

    /// Passes a packet of the client on `slot` by the fast path. `None`: nothing has changed, and it is for
    /// [`Self::outbound`].
    pub fn pass_fast_outward(
        &mut self,
        now: Moment,
        slot: ClientSlot,
        frame: &mut FrameView<'_>,
    ) -> Option<PassedPacket> {
        self.datapath.pass_fast_outward(now, slot, frame)
    }

    /// Passes a packet from the uplink by the fast path. `None`: nothing has changed, and it is for [`Self::inbound`].
    pub fn pass_fast_inward(&mut self, now: Moment, frame: &mut FrameView<'_>) -> Option<PassedPacket> {
        self.datapath.pass_fast_inward(now, frame)
    }

    /// Takes an IPv4 packet from the client on `from`.
    pub fn outbound(&mut self, now: Moment, from: ClientSlot, packet: D, output: &mut impl Output<D>) {
        self.take(now, Side::Client(from), packet, output);
    }

    /// Takes an IPv4 packet from the uplink.
    pub fn inbound(&mut self, now: Moment, packet: D, output: &mut impl Output<D>) {
        self.take(now, Side::Uplink, packet, output);
    }

    /// Takes a packet back that was to leave by the uplink, whose next hop does not answer. The client that sent it, on whose
    /// account it is, is told (RFC 1122 section 2.3.2.1, type 3 code 1).
    pub fn unreachable(&mut self, now: Moment, mut packet: D, sender: Account, output: &mut impl Output<D>) {
        let total = packet.total_bytes();
        if let Some(original) = packet.original()
            && let Ok(ip) =
                Ipv4::read(packet.header(), total).or_bug("a packet that was rewritten cannot be read")
        {
            let offload = packet.offload();
            let mut view = PacketView { header: packet.header_mut(), ip, offload };
            self.datapath.report_unreachable(now, &mut view, original, sender);
        }
        self.send_answer(output);
        self.discard(packet, DropReason::Unreachable, output);
    }

    /// Does what time has brought due, a bounded amount per call.
    pub fn advance(&mut self, now: Moment, output: &mut impl Output<D>) -> Progress {
        self.expire_fragments(now, output);
        self.datapath.advance(now, BUDGET)
    }

    /// When [`Engine::advance`] has something to do; a moment in the past when it has now.
    pub fn next_deadline(&self) -> Option<Moment> {
        let fragments = self.fragments.next_deadline().map(Tick::begins);
        self.datapath.next_deadline().into_iter().chain(fragments).min()
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        self.datapath.counters()
    }

    /// The tables, to look at.
    pub const fn engine(&self) -> &Datapath {
        &self.datapath
    }

    /// The datagrams that are arriving in pieces, to look at.
    pub const fn fragments(&self) -> &Fragments<D> {
        &self.fragments
    }

    fn take(&mut self, now: Moment, side: Side, mut packet: D, output: &mut impl Output<D>) {
        let available = packet.total_bytes();
        let ip = match Ipv4::read(packet.header(), available) {
            Ok(ip) => ip,
            Err(fault) => return self.discard(packet, fault.into(), output),
        };
        let Some(from) = self.datapath.clients().inside(side) else {
            return self.discard(packet, DropReason::NoClient, output);
        };
        if let Err(why) = output.admit(side, &mut packet, &ip) {
            return self.discard(packet, why, output);
        }
        let offload = packet.offload();
        let mut view = PacketView { header: packet.header_mut(), ip, offload };
        if let Err(why) = self.datapath.screen(from, &view) {
            return self.discard(packet, why, output);
        }
        if ip.part != Part::Whole {
            return self.take_fragment(now, from, packet, output);
        }
        let verdict = self.datapath.judge_packet(now, from, &mut view);
        self.carry_out(from, packet, &ip, verdict, output);
    }

    /// Does with `packet` what the engine decided.
    #[inline(always)]
    fn carry_out(&mut self, from: Side, packet: D, ip: &Ipv4, verdict: Verdict, output: &mut impl Output<D>) {
        self.send_answer(output);
        match verdict {
            Verdict::Discard(why) => self.discard(packet, why, output),
            Verdict::Receive(datagram) => output.receive(packet, datagram),
            Verdict::Forward(translation) => match packet.offload().gso {
                Some(gso) => self.forward_segmented(from, translation, packet, *ip, gso, output),
                None => {
                    let Some(exit) = self.datapath.clients().outside(translation.to) else {
                        return self.discard(packet, DropReason::NoClient, output);
                    };
                    self.datapath.count_forwarded(from, translation.to, 1);
                    let mtu = self.datapath.mtu(translation.to);
                    if ip.total_bytes > mtu {
                        output.fragment(exit, packet, &translation.translated(ip), mtu);
                    } else {
                        output.forward(exit, packet, translation.destination);
                    }
                }
            },
        }
    }

    /// As [`Self::carry_out`], but not inlined into its callers, who call it seldom.
    #[inline(never)]
    fn carry_out_seldom(
        &mut self,
        from: Side,
        packet: D,
        ip: &Ipv4,
        verdict: Verdict,
        output: &mut impl Output<D>,
    ) {
        self.carry_out(from, packet, ip, verdict, output);
    }

    /// Forwards a packet that its receiver is to segment, in segments that fit: those of one that may be cut are made
    /// smaller where an honest sender's others are cut in two. The header is handed over by value, so that those of
    /// other packets stay in registers.
    #[inline(never)]
    fn forward_segmented(
        &mut self,
        from: Side,
        translation: Translation,
        mut packet: D,
        ip: Ipv4,
        gso: Gso,
        output: &mut impl Output<D>,
    ) {
        let Some(exit) = self.datapath.clients().outside(translation.to) else {
            return self.discard(packet, DropReason::NoClient, output);
        };
        let asked = Segmented::of(packet.header(), &ip, gso.segment_bytes);
        // A packet whose segments cannot be made to fit was refused before (`why_cannot_pass`).
        let made = asked.within(self.datapath.mtu(translation.to)).unwrap_or(asked);
        if made != asked {
            let gso = Some(Gso { segment_bytes: made.segment_bytes(), ..gso });
            packet.set_offload(Offload { gso, ..packet.offload() });
        }
        self.datapath.count_forwarded(from, translation.to, made.count());
        output.forward(exit, packet, translation.destination);
    }

    /// Sends the answer that the last packet asked for, if it did.
    pub fn send_answer(&mut self, output: &mut impl Output<D>) {
        if let Some((to, destination, reply)) = self.datapath.take_reply() {
            output.reply(to, reply, destination);
        }
    }

    fn discard(&mut self, packet: D, why: DropReason, output: &mut impl Output<D>) {
        self.datapath.count_drop(why);
        output.discard(packet, why);
    }
}
