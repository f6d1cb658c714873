use super::*;
use crate::base::host_name::HostName;
use crate::base::prefix::Ipv4Prefix;
use crate::engine::Settings;
use crate::guard::RuleTable;
use crate::vif::parcel::Body;
use crate::wire::checksum;
use crate::wire::packet::Checksum;
use crate::wire::packet::Packet;
use crate::xen::charge::Charge;
use crate::xen::page::on_heap;
use alloc::vec;
use core::net::SocketAddrV4;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 5);

/// A UDP datagram of `CLIENT`'s beyond the gateway.
fn datagram() -> [u8; 32] {
    let mut packet = [0; 32];
    packet[..10].copy_from_slice(&[0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 17]);
    packet[12..16].copy_from_slice(&CLIENT.octets());
    packet[16..20].copy_from_slice(&[8, 8, 8, 8]);
    packet[20..26].copy_from_slice(&[0x13, 0x88, 0, 53, 0, 12]);
    let sum = checksum::of(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A data plane of one client, whose packet waits for the gateway, and the client's account.
fn with_one_packet_waiting(now: Moment) -> (DataPlane, PagePool, Account) {
    let engine = Engine::new(Settings::for_memory(16 << 20, OURS), RuleTable::allow_all(), [7; 32], now);
    let (mut data, mut pages) = (data_plane(engine, now), PagePool::with_capacity(256));
    (0..256).for_each(|_| pages.add(on_heap::page()));
    data.apply([gained(1)].into_iter(), &mut pages, now);
    let account = data.engine.engine().clients().on(ClientSlot(1)).map(Account::client).unwrap();

    let page = pages.take(Charge::UPLINK).unwrap();
    let mut frame = Frame::with_packet(page, &datagram(), &mut pages).unwrap();
    frame.charge_to(account);
    let mut context = EgressContext { egress: &mut data.egress, pages: &mut pages, now };
    data.engine.outbound(now, ClientSlot(1), frame, &mut context);
    assert_eq!(data.egress.neighbours.holdings(account).pages, 1);
    (data, pages, account)
}

fn data_plane(engine: Engine<Frame>, now: Moment) -> DataPlane {
    DataPlane::new(engine, route(GATEWAY), Resolvers::new(), now)
}

fn route(gateway: Ipv4Addr) -> Option<UplinkRoute> {
    UplinkRoute::new(Ipv4Prefix::new(OURS, 24).unwrap(), gateway).ok()
}

fn gained(slot: u8) -> Change {
    Change::Ownership(Ownership::Gained(ClientSlot(slot), CLIENT))
}

/// A datagram from the uplink to a port of ours.
fn to_our_port(from: SocketAddrV4, port: u16, payload: &[u8], pages: &mut PagePool) -> Frame {
    let mut packet = vec![0x45, 0, 0, 28 + payload.len() as u8, 0, 0, 0x40, 0, 64, 17, 0, 0];
    packet.extend(from.ip().octets().iter().chain(&OURS.octets()));
    let sum = checksum::of(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let numbers = [from.port(), port, 8 + payload.len() as u16, 0];
    packet.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    packet.extend(payload);
    let mut frame = Frame::with_packet(pages.take(Charge::UPLINK).unwrap(), &packet, pages).unwrap();
    Header { destination: Mac([2; 6]), source: Mac([4; 6]), ether_type: EtherType::Ipv4 }
        .write(frame.ethernet_mut());
    frame
}

#[test]
fn an_answer_counts_whatever_others_send_to_the_port_of_its_question() {
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 139, 1, 1);
    let now = Moment::from_nanoseconds(1_000_000_000);
    let rules = "[default]\npolicy=drop\naction=accept dsthost=www.example\n";
    let table = crate::guard::ruleset::read(rules.as_bytes(), &[]).0;
    let engine = Engine::new(Settings::for_memory(16 << 20, OURS), table, [7; 32], now);
    let (mut data, mut pages) = (data_plane(engine, now), PagePool::with_capacity(256));
    (0..256).for_each(|_| pages.add(on_heap::page()));
    data.apply([Change::Resolvers([SERVER].into_iter().collect())].into_iter(), &mut pages, now);
    data.advance(&mut pages, now);

    // The question waits for the gateway's Ethernet address.
    let mut context = EgressContext { egress: &mut data.egress, pages: &mut pages, now };
    context.with_neighbours(|neighbours, output| neighbours.clear(output));
    let question = data.egress.undeliverable.pop().unwrap();
    let (header, message) = question.header().split_at(28);
    let port = u16::from_be_bytes([header[20], header[21]]);
    let mut answer = message.to_vec();
    (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, 9]);
    question.release(&mut pages);

    let mut send = |from: SocketAddrV4, count| {
        (0..count)
            .for_each(|_| data.received.push(Arrived::Frame(to_our_port(from, port, &answer, &mut pages))));
    };
    send(SocketAddrV4::new(SERVER, 5353), 20);
    send(SocketAddrV4::new(SERVER, 53), 1);
    send(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 66), 53), 20);
    data.judge_received(Mac([2; 6]), &mut pages, now);
    data.advance(&mut pages, now);
    let host = HostName::parse("www.example").unwrap();
    let names = data.engine.engine().rules().names();
    assert_eq!(names.of(&host), [Ipv4Addr::new(192, 0, 2, 9)]);
}

#[test]
fn whoever_gets_an_address_is_not_told_of_what_the_one_before_sent() {
    let now = Moment::from_nanoseconds(1_000_000_000);
    let (mut data, mut pages, account) = with_one_packet_waiting(now);
    let lost = Change::Ownership(Ownership::Lost(ClientSlot(1)));
    data.apply([lost, gained(2)].into_iter(), &mut pages, now);
    assert_eq!(data.egress.neighbours.holdings(account).pages, 0);
    assert_eq!(data.egress.drops.of(DropReason::Detached), 1);
}

#[test]
fn what_waits_for_a_gateway_does_not_wait_for_its_successor() {
    let now = Moment::from_nanoseconds(1_000_000_000);
    let (mut data, mut pages, account) = with_one_packet_waiting(now);
    let change = Change::Route { from: route(GATEWAY), to: route(Ipv4Addr::new(10, 0, 0, 9)) };
    data.apply([change].into_iter(), &mut pages, now);
    let left = data.egress.neighbours.holdings(account);
    assert_eq!((left.pages, left.silent, left.known), (0, 0, 0));
    assert_eq!(data.egress.undeliverable.len(), 1);
}

/// A small frame from the uplink, with this packet.
fn small_from_uplink(data: &mut DataPlane, packet: &[u8]) -> Arrived {
    let bounce = data.exchange.bounces().take().unwrap();
    let content = data.exchange.bounces().bytes_mut(&bounce).unwrap();
    Header { destination: Mac([2; 6]), source: Mac([4; 6]), ether_type: EtherType::Ipv4 }.write(content);
    content[HEADER_BYTES..][..packet.len()].copy_from_slice(packet);
    let bytes = (HEADER_BYTES + packet.len()) as u16;
    Arrived::Parcel(Parcel { body: Body::Bounce(bounce), bytes, checksum: Checksum::Unverified })
}

/// An answer to [`datagram`] at our port, with this TTL and these flags.
fn answer_at(port: u16, ttl: u8, flags: u8) -> [u8; 32] {
    let mut packet = datagram();
    (packet[6], packet[8]) = (flags, ttl);
    packet[10..12].fill(0);
    packet[12..16].copy_from_slice(&[8, 8, 8, 8]);
    packet[16..20].copy_from_slice(&OURS.octets());
    packet[20..22].copy_from_slice(&[0, 53]);
    packet[22..24].copy_from_slice(&port.to_be_bytes());
    let sum = checksum::of(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn without_a_page_a_small_packet_is_lost_and_counted_and_its_answer_leaves_all_the_same() {
    let now = Moment::from_nanoseconds(1_000_000_000);
    let (mut data, mut pages, _) = with_one_packet_waiting(now);
    let flows = data.engine.engine().flows();
    let port = flows.get(flows.id_at(0).unwrap()).unwrap().outer_port;
    data.exchange.begin(&mut pages);
    let taken: Vec<_> = core::iter::from_fn(|| pages.take(Charge::UPLINK)).collect();

    // Its time is exceeded, of which its sender is told on our own account.
    let packet = small_from_uplink(&mut data, &answer_at(port, 1, 0x40));
    data.received.push(packet);
    data.judge_received(Mac([2; 6]), &mut pages, now);
    assert_eq!(data.egress.neighbours.holdings(Account::UPLINK).pages, 1);
    assert_eq!(data.egress.drops.of(DropReason::NoPage), 1);

    // So is one that is not judged where it lies, and one whose way is not there.
    for flags in [0x20, 0x40] {
        let packet = small_from_uplink(&mut data, &answer_at(port, 64, flags));
        data.received.push(packet);
    }
    data.judge_received(Mac([2; 6]), &mut pages, now);
    assert_eq!(data.egress.drops.of(DropReason::NoPage), 3);
    taken.into_iter().for_each(|page| pages.give(page));
}
