//! What holds for any packet: random ones, right and wrong, against invariants.
#![allow(missing_docs)]

mod support;
use ravelin::base::side::{ClientSlot, Side};
use ravelin::wire::packet::Checksum;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use support::*;

/// A packet of C1 to R of any kind that is forwarded.
fn any_packet(random: &mut Random) -> TestPacket {
    let size = random.pick(&[0, 1, 7, 8, 100, 547, 548, 549, 1000, 1399]);
    let payload = random.bytes(size);
    let (inner, remote) = (random.bits() as u16, random.bits() as u16 | 0x400);
    let packet = match random.below(5) {
        0 | 1 => udp_with((C1, inner), (R, remote), &payload),
        2 => {
            let (sequence, ack) = (random.bits() as u32, random.bits() as u32);
            tcp_with((C1, inner), (R, remote), random.pick(&["S", "SEC", "SPU"]), sequence, ack, &payload)
        }
        3 => echo(C1, R, 8, inner, &payload),
        _ => {
            let protocol = random.pick(&[2, 33, 47, 50, 132, 136]);
            let mut packet = ip(C1, R, protocol, &[&payload[..], &[1; 24]].concat());
            packet.fix_sums();
            packet
        }
    };
    let packet = packet.tos(random.bits() as u8).id(random.bits() as u16).ttl_of(2 + random.below(254) as u8);
    let packet = if random.one_in(5) { packet.options(&[0x94, 4, 0, 0, 1, 1, 1, 0]) } else { packet };
    if random.one_in(3) { packet.no_df() } else { packet }
}

/// Zero and ones are the same checksum to whoever verifies it.
fn equal_sums(a: u16, b: u16) -> bool {
    a % 0xFFFF == b % 0xFFFF
}

/// The error of a layer-4 checksum: zero when it is right.
fn sum_error(packet: &TestPacket) -> u16 {
    (!packet.verified_sum()) % 0xFFFF
}

#[test]
fn there_and_back_is_the_identity() {
    let mut random = Random::new(1);
    let mut world = World::new();
    for round in 0..6_000 {
        if round % 1000 == 999 {
            world = World::new();
        }
        let mut sent = any_packet(&mut random);
        let has_sum = sent.sum_at().is_some();
        if has_sum && random.one_in(4) {
            let (at, wrong) = (sent.sum_at().unwrap(), random.bits() as u16);
            sent = sent.with_wrong(|bytes| bytes[at..at + 2].copy_from_slice(&wrong.to_be_bytes()));
        }
        let outside = world.out_u(ONE, sent.clone());
        assert_eq!(plain_sum(&outside.bytes[..outside.header_bytes()]), 0xFFFF);
        assert_eq!((outside.source(), outside.ttl()), (F, sent.ttl() - 1));
        if has_sum && !(sent.protocol() == 17 && sent.layer4_sum() == 0) {
            assert_eq!(sum_error(&outside), sum_error(&sent), "{sent:?} {outside:?}");
        }
        // Back, as the quote of an error.
        let quoted = world.out_c(ONE, icmp_error(R, F, 11, 0, &outside, 65_535)).quoted();
        let mut expected = sent.clone();
        expected.bytes[8] -= 1;
        expected.bytes[4..6].copy_from_slice(&quoted.bytes[4..6]);
        if sent.u16_at(6) & 0x4000 != 0 {
            assert_eq!(quoted.ident(), sent.ident());
        }
        expected.fix_ip_sum();
        if let Some(at) = sent.sum_at().filter(|_| matches!(sent.protocol(), 1 | 6 | 17)) {
            assert!(equal_sums(quoted.u16_at(at), expected.u16_at(at)), "{sent:?} {quoted:?}");
            let sum = quoted.u16_at(at);
            expected.put_u16(at, sum);
        } else if has_sum {
            // The quote's own sum is of no protocol the firewall reads.
            let at = sent.sum_at().unwrap();
            let sum = quoted.u16_at(at);
            expected.put_u16(at, sum);
        }
        assert_eq!(quoted.bytes, expected.bytes);
    }
}

#[test]
fn a_blank_checksum_completes_to_the_right_one_on_both_sides() {
    let mut random = Random::new(2);
    let mut world = World::new();
    let mut flows = 0;
    while flows < 2_000 {
        let sent = any_packet(&mut random);
        if !matches!(sent.protocol(), 6 | 17) {
            continue;
        }
        flows += 1;
        if flows % 1000 == 0 {
            world = World::new();
        }
        let outside = world.out_u(ONE, sent.clone().blank());
        assert_eq!(outside.offload.checksum, Checksum::Blank);
        let whole = outside.clone().complete();
        assert_eq!(whole.verified_sum(), 0xFFFF);
        let at = whole.header_bytes();
        assert_eq!(whole.bytes[at + 2..at + 4], sent.bytes[at + 2..at + 4]);
        let payload_at = if sent.protocol() == 6 { 20 } else { 8 };
        assert_eq!(whole.payload()[payload_at..], sent.payload()[payload_at..]);
        if sent.protocol() == 17 {
            let (from, to) = (outside.to(), outside.from());
            let answer = udp_with(from, to, &random.bytes(30)).blank();
            assert_eq!(world.out_c(ONE, answer).complete().verified_sum(), 0xFFFF);
        }
    }
}

#[test]
fn fragments_make_their_datagram_or_nothing() {
    let mut random = Random::new(3);
    let mut world = World::new();
    let mut completed = 0;
    for round in 0..800u32 {
        let size = 1 + random.below(9_000) as usize;
        let payload = random.bytes(size);
        let datagram = udp_with((C1, 5000), (R, 53), &payload).no_df().id(round as u16);
        let mut fragments = datagram.cut(28 + random.below(1_480) as usize);
        let is_whole = fragments.len() == 1;
        let too_many = fragments.len() > 60;
        random.shuffle(&mut fragments);
        let meddled = random.one_in(3);
        if meddled {
            let at = random.below(fragments.len() as u64 + 1) as usize;
            let offset = random.below(size as u64 / 8 + 2) as usize * 8;
            let more = random.one_in(2);
            fragments.insert(at, datagram.piece(offset, &random.bytes(8), more));
        }
        let mut passed: Vec<TestPacket> = Vec::new();
        for fragment in fragments {
            for out in world.client(ONE, fragment) {
                match out {
                    Out::Forward(Side::Uplink, packet) => passed.push(packet),
                    Out::Discard(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        // No two fragments that pass contradict each other, whatever was sent.
        let mut taken = BTreeMap::new();
        for packet in &passed {
            for at in packet.fragment_offset()..packet.fragment_offset() + packet.payload().len() {
                assert!(taken.insert((packet.ident(), at), ()).is_none(), "byte {at} passed twice");
            }
        }
        if !meddled && !too_many {
            let whole = reassemble(&passed);
            whole.assert_sums();
            assert_eq!(whole.payload()[8..], payload);
            completed += usize::from(!is_whole);
        }
        world.wait(31);
    }
    assert!(completed > 250);
    assert_eq!(world.engine.fragments().waiting(), 0);
}

#[test]
fn any_bytes_are_disposed_of_exactly_once() {
    let mut random = Random::new(4);
    let mut world = World::with(settings(), permitting());
    let mut disposed = 0u64;
    let mut taken = 0u64;
    for _ in 0..60_000 {
        let mut packet = match random.below(4) {
            0 => {
                let size = random.below(700) as usize;
                TestPacket::new(random.bytes(size))
            }
            1 => icmp_error(
                R,
                F,
                random.pick(&[3, 11, 12]),
                random.bits() as u8,
                &any_packet(&mut random),
                600,
            ),
            _ => any_packet(&mut random),
        };
        // Most changes keep the header sum right, so that they reach the later stages.
        for _ in 0..random.below(4) {
            if !packet.bytes.is_empty() {
                let at = random.below(packet.bytes.len().min(80) as u64) as usize;
                packet.bytes[at] = random.bits() as u8;
            }
        }
        if packet.bytes.len() >= 20 && packet.header_bytes() <= packet.bytes.len() && !random.one_in(10) {
            packet.fix_ip_sum();
        }
        if random.one_in(20) {
            packet.offload.checksum = Checksum::Blank;
        }
        taken += 1;
        let out = match random.below(3) {
            0 => world.uplink(packet),
            slot => world.client(ClientSlot(slot as u8), packet),
        };
        disposed += out.iter().filter(|out| !matches!(out, Out::Answer(..))).count() as u64;
        if random.one_in(500) {
            world.now = world.now + std::time::Duration::from_secs(random.below(100));
            disposed += world.advance().len() as u64;
        }
    }
    world.now = world.now + std::time::Duration::from_secs(100);
    disposed += world.advance().len() as u64;
    assert_eq!((world.engine.fragments().waiting(), disposed), (0, taken));
    let counters = world.engine.counters();
    let forwarded = counters.outward + counters.inward + counters.between;
    assert_eq!(forwarded + counters.dropped.total(), taken);
    assert!(forwarded > 300, "{forwarded}");
}

#[test]
fn every_reason_has_its_own_name() {
    let names: std::collections::BTreeSet<&str> =
        ravelin::base::drop_reason::DropReason::ALL.iter().map(|why| why.name()).collect();
    assert_eq!(names.len(), ravelin::base::drop_reason::DropReason::ALL.len());
    assert!(
        names
            .iter()
            .all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit()))
    );
}

#[test]
fn a_clients_view_of_an_answer_is_the_remotes_but_for_the_destination() {
    let mut random = Random::new(5);
    let mut world = World::new();
    for _ in 0..5_000 {
        let inner = 1024 + random.below(1000) as u16;
        let outer = world.out_u(ONE, udp((C1, inner), (R, 53))).from();
        let size = random.below(1_400) as usize;
        let answer = udp_with((R, 53), outer, &random.bytes(size));
        let got = world.out_c(ONE, answer.clone());
        let mut expected = answer;
        expected.bytes[8] -= 1;
        expected.bytes[16..20].copy_from_slice(&Ipv4Addr::octets(&C1));
        expected.bytes[22..24].copy_from_slice(&inner.to_be_bytes());
        expected.fix_sums();
        assert_eq!(got.bytes, expected.bytes);
    }
}
