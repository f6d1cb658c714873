//! The fast path against the whole engine, in what other fast paths went wrong with.

use crate::support::*;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;
use ravelin::engine::small::SmallVerdict;
use ravelin::wire::frame_view::{FrameView, HEAD_BYTES};
use std::net::Ipv4Addr;

const CLIENT: Side = Side::Client(ONE);
const ETHERNET: usize = 14;

/// Two firewalls alike: one passes by the fast path what may go there, the other never does.
struct Twins {
    fast: World,
    whole: World,
}

impl Twins {
    fn new() -> Self {
        Self { fast: World::new(), whole: World::new() }
    }

    /// A connection of C1 from port 5000 to R:80 ([`World::open_tcp`]), and its outer end.
    fn open_tcp() -> (Self, (Ipv4Addr, u16)) {
        let mut twins = Self::new();
        let outer = twins.whole.open_tcp(5000);
        assert_eq!(twins.fast.open_tcp(5000), outer);
        (twins, outer)
    }

    /// A conversation of C1 from port 5000 with R:5001 by UDP, and its outer end.
    fn open_udp() -> (Self, (Ipv4Addr, u16)) {
        let mut twins = Self::new();
        let (asked, mut outer) = (udp((C1, 5000), (R, 5001)), (F, 0));
        for _ in 0..2 {
            outer = twins.whole.out_u(ONE, asked.clone()).from();
            assert_eq!(twins.fast.out_u(ONE, asked.clone()).from(), outer);
            twins.whole.out_c(ONE, udp((R, 5001), outer));
            twins.fast.out_c(ONE, udp((R, 5001), outer));
        }
        (twins, outer)
    }

    /// What the fast path makes of a frame with this packet, and something behind it.
    fn try_fast(&mut self, from: Side, packet: &TestPacket, behind: usize) -> Option<TestPacket> {
        let mut frame = vec![0; ETHERNET];
        frame.extend(&packet.bytes);
        frame.resize(frame.len() + behind, 0x5a);
        let frame_bytes = frame.len() as u16;
        // What was in the frame's place before.
        frame.resize(frame.len().max(HEAD_BYTES), 0xa5);
        let checksum = packet.offload.checksum;
        let head = frame.first_chunk_mut().unwrap();
        let mut view = FrameView { head, frame_bytes, checksum };
        let (engine, now) = (&mut self.fast.engine, self.fast.now);
        let passed = match from {
            Side::Client(slot) => engine.pass_fast_outward(now, slot, &mut view),
            Side::Uplink => engine.pass_fast_inward(now, &mut view),
        }?;
        let end = ETHERNET + usize::from(passed.total_bytes);
        Some(TestPacket { bytes: frame[ETHERNET..end].to_vec(), ..packet.clone() })
    }

    /// A packet that takes the fast path, and is what the whole engine makes of it.
    #[track_caller]
    fn passes(&mut self, from: Side, packet: TestPacket) -> TestPacket {
        self.passes_with(from, packet, 0)
    }

    #[track_caller]
    fn passes_with(&mut self, from: Side, packet: TestPacket, behind: usize) -> TestPacket {
        let fast = self.try_fast(from, &packet, behind).expect("it may pass");
        let whole = match from {
            Side::Client(slot) => self.whole.out_u(slot, packet),
            Side::Uplink => self.whole.out_c(ONE, packet),
        };
        assert_eq!(fast.bytes, whole.bytes);
        fast
    }

    /// A packet that is left to the whole engine as it came.
    #[track_caller]
    fn leaves(&mut self, from: Side, packet: &TestPacket) {
        assert_eq!(self.try_fast(from, packet, 0), None, "{packet:?}");
    }

    fn wait_unattended(&mut self, seconds: u64) {
        self.fast.wait_unattended(seconds);
        self.whole.wait_unattended(seconds);
    }
}

fn data(sequence: u32, bytes: usize) -> TestPacket {
    tcp_with((C1, 5000), (R, 80), "PA", sequence, 5101, &vec![b'z'; bytes])
}

#[test]
fn a_datagram_without_a_checksum_stays_without() {
    let (mut twins, outer) = Twins::open_udp();
    for (from, packet) in [(CLIENT, udp((C1, 5000), (R, 5001))), (Side::Uplink, udp((R, 5001), outer))] {
        let passed = twins.passes(from, packet.with_wrong(|bytes| bytes[26..28].fill(0)));
        assert_eq!(passed.u16_at(26), 0);
    }
}

#[test]
fn a_blank_checksum_covers_the_new_address_and_not_the_port() {
    let (mut twins, outer) = Twins::open_tcp();
    for (from, packet) in [(CLIENT, data(1101, 10)), (Side::Uplink, tcp((R, 80), outer, "A", 5101, 1111))] {
        let passed = twins.passes(from, packet.blank());
        assert_eq!(passed.u16_at(36), passed.pseudo_sum());
    }
}

#[test]
fn what_lies_behind_a_short_packet_is_cut_off() {
    let (mut twins, outer) = Twins::open_tcp();
    for behind in [0, 6, 10, 60] {
        assert_eq!(
            twins.passes_with(CLIENT, tcp((C1, 5000), (R, 80), "A", 1101, 5101), behind).bytes.len(),
            40
        );
        twins.passes_with(Side::Uplink, tcp((R, 80), outer, "A", 5101, 1101), behind).assert_sums();
    }
}

#[test]
fn a_frame_that_is_shorter_than_its_headers_say_does_not_pass() {
    let (mut twins, _) = Twins::open_udp();
    let whole = udp((C1, 5000), (R, 5001)).bytes;
    for bytes in 0..whole.len() {
        twins.leaves(CLIENT, &TestPacket::new(whole[..bytes].to_vec()));
    }
    let longer = |at: usize, by: u8| udp((C1, 5000), (R, 5001)).with_wrong(move |bytes| bytes[at] += by);
    twins.leaves(CLIENT, &longer(25, 1));
    let (mut twins, _) = Twins::open_tcp();
    // The data offset: too small, and behind the end.
    for words in [0, 4, 6, 15] {
        let segment = tcp((C1, 5000), (R, 80), "A", 1101, 5101);
        twins.leaves(CLIENT, &segment.with(|bytes| bytes[32] = words << 4));
    }
}

#[test]
fn options_fragments_and_the_last_hop_are_left_to_the_whole_engine() {
    let (mut twins, outer) = Twins::open_udp();
    let (out, back) = (|| udp((C1, 5000), (R, 5001)), || udp((R, 5001), outer));
    for (from, packet) in [(CLIENT, out()), (Side::Uplink, back())] {
        twins.leaves(from, &packet.clone().options(&[1, 1, 1, 1]));
        twins.leaves(from, &packet.clone().ttl_of(1));
        twins.leaves(from, &packet.clone().ttl_of(0));
        twins.leaves(from, &packet.piece(0, &packet.payload()[..8], true));
        let mut broken = packet.clone();
        broken.bytes[10] ^= 1;
        twins.leaves(from, &broken);
        twins.passes(from, packet);
    }
    twins.leaves(CLIENT, &udp((C2, 5000), (R, 5001)));
    twins.leaves(Side::Uplink, &udp((R, 5001), (S, outer.1)));
    twins.leaves(Side::Client(TWO), &out());
}

#[test]
fn a_smaller_mtu_holds_for_the_next_packet() {
    let (mut twins, outer) = Twins::open_tcp();
    let back = |sequence| tcp_with((R, 80), outer, "PA", sequence, 1101, &[b'y'; 1000]);
    twins.passes(CLIENT, data(1101, 1000));
    twins.passes(Side::Uplink, back(5101));
    twins.fast.engine.set_mtu(Side::Uplink, 1039);
    twins.fast.engine.set_mtu(CLIENT, 1039);
    twins.leaves(CLIENT, &data(2101, 1000));
    twins.leaves(Side::Uplink, &back(6101));
    let answered = twins.fast.client_error(ONE, data(2101, 1000), DropReason::TooBig);
    assert_eq!(answered, (3, 4));
}

#[test]
fn new_rules_end_a_connection_that_only_takes_the_fast_path() {
    let (mut twins, outer) = Twins::open_tcp();
    twins.passes(CLIENT, data(1101, 10));
    let now = twins.fast.now;
    twins.fast.engine.set_rules(rules(&["action=accept dst4=198.51.100.0/24"]), now);
    twins.leaves(CLIENT, &data(1111, 10));
    twins.leaves(Side::Uplink, &tcp((R, 80), outer, "A", 5101, 1111));
    assert!(twins.fast.client(ONE, data(1111, 10)).iter().all(|out| !matches!(out, Out::Forward(..))));
}

#[test]
fn a_flow_that_only_takes_the_fast_path_does_not_grow_old() {
    let ((mut tcp_twins, outer), (mut udp_twins, _)) = (Twins::open_tcp(), Twins::open_udp());
    for minute in 0..600 {
        tcp_twins.wait_unattended(60);
        udp_twins.wait_unattended(60);
        tcp_twins.passes(Side::Uplink, tcp_with((R, 80), outer, "PA", 5101 + minute, 1101, b"."));
        udp_twins.passes(CLIENT, udp((C1, 5000), (R, 5001)));
        tcp_twins.fast.advance();
        udp_twins.fast.advance();
    }
}

#[test]
fn what_is_over_is_over_for_the_fast_path_before_anybody_notices() {
    let (mut twins, outer) = Twins::open_udp();
    twins.wait_unattended(301);
    twins.leaves(CLIENT, &udp((C1, 5000), (R, 5001)));
    twins.leaves(Side::Uplink, &udp((R, 5001), outer));
}

#[test]
fn the_fast_path_moves_windows_on_so_that_what_ends_a_connection_is_known() {
    let (mut twins, outer) = Twins::open_tcp();
    for step in 0..200 {
        twins.passes(CLIENT, data(1101 + 1000 * step, 1000));
        twins.passes(Side::Uplink, tcp((R, 80), outer, "A", 5101, 2101 + 1000 * step));
    }
    // 200,000 bytes on: one that does not fit does not end it, one that does, does.
    let reset = |sequence| tcp((C1, 5000), (R, 80), "R", sequence, 0);
    twins.fast.out_u(ONE, reset(1101));
    twins.passes(CLIENT, data(201_101, 10));
    twins.fast.out_u(ONE, reset(201_111));
    twins.leaves(CLIENT, &data(201_111, 10));
}

#[test]
fn what_opens_or_ends_a_connection_is_left_to_the_whole_engine() {
    let (mut twins, outer) = Twins::open_tcp();
    for letters in ["S", "SA", "FA", "R", "RA", "", "F", "SF", "U"] {
        twins.leaves(CLIENT, &tcp((C1, 5000), (R, 80), letters, 1101, 5101));
        twins.leaves(Side::Uplink, &tcp((R, 80), outer, letters, 5101, 1101));
    }
    twins.passes(CLIENT, tcp((C1, 5000), (R, 80), "AUEC", 1101, 5101));
}

/// What leaves when a packet is judged where it lies.
fn small(world: &mut World, from: Side, mut packet: TestPacket) -> Vec<Out> {
    let (mut lying, checksum) = (packet.bytes.clone(), packet.offload.checksum);
    let mut recorder = Recorder::default();
    match world.engine.judge_small(world.now, from, &mut lying, checksum) {
        SmallVerdict::Passed(passed) => {
            world.engine.send_answer(&mut recorder);
            lying.truncate(passed.total_bytes.into());
            packet.bytes = lying;
            recorder.out.push(Out::Forward(passed.exit, packet));
        }
        SmallVerdict::Judged(judged) => world.engine.finish(judged, packet, &mut recorder),
        SmallVerdict::NotJudged => return whole(world, from, packet),
    }
    recorder.out
}

/// The same, by the whole engine.
fn whole(world: &mut World, from: Side, packet: TestPacket) -> Vec<Out> {
    match from {
        Side::Client(slot) => world.client(slot, packet),
        Side::Uplink => world.uplink(packet),
    }
}

/// Some packet, and where it comes from; of what left before some are quoted and answered.
fn any_packet(random: &mut Random, seen: &[TestPacket]) -> (Side, TestPacket) {
    let port = 5000 + random.below(3) as u16;
    let letters = random.pick(&["S", "SA", "A", "PA", "FA", "R", "RA", ""]);
    let about = seen.get(random.below(seen.len().max(1) as u64) as usize).cloned();
    let about = about.unwrap_or_else(|| udp((F, 5000), (R, 53)));
    let sequence = random.below(3) as u32 * 500;
    let quoted = 20 + random.below(30) as usize;
    let kind = random.pick(&[3, 11, 12, 5]);
    let (far, near) = (random.pick(&[R, S, C2, G, F]), random.pick(&[C1, C2]));
    let (from, packet) = match random.below(9) {
        0 => (CLIENT, udp((near, port), (far, 53))),
        1 => (CLIENT, tcp((near, port), (far, 80), letters, 1000 + sequence, 5000)),
        2 => (CLIENT, echo_request(near, far, port)),
        3 => (CLIENT, ip(near, far, random.pick(&[1, 33, 50, 136]), &[7; 9])),
        4 => (CLIENT, icmp_error(near, far, kind, 1, &about, quoted)),
        5 => (Side::Uplink, icmp_error(far, F, kind, 4, &about, quoted)),
        6 => (Side::Uplink, echo_reply(about.destination(), F, about.icmp_ident())),
        7 => (Side::Uplink, tcp(about.to(), about.from(), letters, 5000, 1001 + sequence)),
        _ => (Side::Uplink, udp(about.to(), about.from())),
    };
    let at = random.below(packet.bytes.len() as u64) as usize;
    match random.below(12) {
        0 => (from, packet.with_wrong(|bytes| bytes[at] ^= 0x40)),
        1 => (from, packet.with(|bytes| bytes[at] ^= 0x04)),
        2 => (from, packet.options(&[1, 1, 1, 1])),
        3 => (from, packet.ttl_of(1)),
        _ => (from, packet),
    }
}

#[test]
fn a_small_packet_fares_where_it_lies_as_in_a_frame() {
    let mut random = Random::new(17);
    let (mut lying, mut framed, mut seen) = (World::new(), World::new(), Vec::new());
    let mut forwarded = 0;
    for _ in 0..60_000 {
        let (from, mut packet) = any_packet(&mut random, &seen);
        packet.bytes.resize(packet.bytes.len() + random.pick(&[0, 6, 20]), 0x5a);
        let expected = whole(&mut framed, from, packet.clone());
        assert_eq!(small(&mut lying, from, packet.clone()), expected, "{from:?} {packet:?}");
        if let [.., Out::Forward(to, passed)] = expected.as_slice() {
            forwarded += 1;
            if *to == Side::Uplink && passed.bytes.len() >= 28 {
                seen.push(passed.clone());
            }
        }
        if random.one_in(50) {
            seen.clear();
            let seconds = random.below(100);
            for world in [&mut lying, &mut framed] {
                world.wait(seconds);
            }
        }
    }
    assert_eq!(lying.engine.counters(), framed.engine.counters());
    assert!(forwarded > 5_000, "{forwarded}");
}
