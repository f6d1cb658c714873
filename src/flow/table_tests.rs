//! The flow table with both families of addresses.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::base::side::ClientSlot;
use crate::base::tick::Seconds;
use crate::tables::share::Membership;
use crate::wire::ipv4::protocol;

const CLIENT: ClientSlot = ClientSlot(1);
const OTHER: ClientSlot = ClientSlot(2);
const PLACES: u32 = 64;
const NOW: Tick = Tick(1000);

fn table<A: Address>() -> FlowTable<A> {
    FlowTable::new(PLACES, Timeouts::default(), (1, 2), NOW)
}

/// Places of which one account may have 48, and one client that is attached is guaranteed 32.
fn places() -> Share {
    let mut places = Share::new(PLACES, 48);
    places.set_membership(Account::client(CLIENT), Membership::Member);
    places
}

fn flow<A: Address>(near: ClientSlot, protocol: u8, near_port: u16, far: A) -> Flow<A> {
    Flow {
        far,
        near_port,
        far_port: 53,
        outer_port: near_port + 1000 * u16::from(near.0),
        protocol,
        near,
        kind: FlowKind::Outbound,
        stage: FlowStage::Unreplied,
        unused: 0,
        deadline: Tick(0),
        judged: Generation::default(),
        mapping: None,
        chained: Chained::default(),
        tcp: TcpTracker::default(),
    }
}

/// Two far ends that differ in the half of the address that IPv4 does not have, if there is one, or else in all.
fn far_ends() -> ([Ipv4Addr; 2], [Ipv6Addr; 2]) {
    let v6 = |high: u128| Ipv6Addr::from_bits(high << 64 | 9);
    ([Ipv4Addr::new(192, 0, 2, 9), Ipv4Addr::new(198, 51, 100, 9)], [v6(1), v6(2)])
}

/// Every flow is found by each of its keys, until it is taken out, and alone.
fn finds_by_both_keys<A: Address>(far: [A; 2]) {
    let (mut table, mut places) = (table::<A>(), places());
    let flows: Vec<Flow<A>> =
        (1..=16).flat_map(|port| far.map(|far| flow(CLIENT, protocol::UDP, port, far))).collect();
    let ids: Vec<_> = flows.iter().map(|flow| table.insert(*flow, NOW, &mut places).unwrap()).collect();
    let check = |table: &FlowTable<A>, left: usize| {
        for (at, (flow, id)) in flows.iter().zip(&ids).enumerate() {
            let expected = (at >= left).then_some(*id);
            assert_eq!(table.find(&FlowKey::internal(flow)), expected);
            assert_eq!(table.find(&FlowKey::external(flow).unwrap()), expected);
        }
    };
    check(&table, 0);
    assert_eq!(table.insert(flows[0], NOW, &mut places), Err(FlowRefusal::KeyTaken));
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(places.fault(table.len()), None);
        assert_eq!(table.remove(*id, &mut places).map(|flow| flow.near_port), Some(flows[at].near_port));
        check(&table, at + 1);
    }
    assert_eq!((table.len(), places.held(Account::client(CLIENT))), (0, 0));
}

#[test]
fn a_flow_is_found_by_both_its_keys_until_it_is_taken_out() {
    let (v4, v6) = far_ends();
    finds_by_both_keys(v4);
    finds_by_both_keys(v6);
}

/// How long a query of the family's ICMP lives, and that it is given back when it is over.
fn icmp_expires<A: Address>(far: A) {
    let (mut table, mut places) = (table::<A>(), places());
    let Seconds(silence) = Timeouts::default().icmp;
    table.insert(flow(CLIENT, A::ICMP, 7, far), NOW, &mut places).unwrap();
    while let Some(due) = table.next_due(NOW.after(Seconds(silence)), &mut places) {
        assert!(matches!(due, DueFlow::Alive));
    }
    let after = NOW.after(Seconds(silence + 1));
    assert!(matches!(table.next_due(after, &mut places), Some(DueFlow::Expired(flow)) if flow.far == far));
    assert_eq!((places.held(Account::client(CLIENT)), table.next_deadline()), (0, None));
}

#[test]
fn an_icmp_query_of_either_family_lives_as_long_as_icmp_does() {
    let (v4, v6) = far_ends();
    icmp_expires(v4[0]);
    icmp_expires(v6[0]);
}

/// Of one account, the one that came first goes first; what is assured stays, and what is condemned goes before all.
fn gives_way_in_order<A: Address>(far: A) {
    let (mut table, mut places) = (table::<A>(), places());
    let account = Account::client(CLIENT);
    let ids =
        [1, 2, 3].map(|port| table.insert(flow(CLIENT, protocol::UDP, port, far), NOW, &mut places).unwrap());
    table.entry(ids[0]).unwrap().enter(FlowStage::Assured, NOW);
    assert_eq!(table.oldest(account, Want::Place, Protection::Unassured), Some(ids[1]));
    assert_eq!(table.oldest(account, Want::Place, Protection::Condemned), None);
    assert_eq!(table.oldest(Account::client(OTHER), Want::Place, Protection::Assured), None);
    table.condemn(account, Generation::default().next());
    assert!(ids.iter().all(|id| table.is_condemned(table.get(*id).unwrap())));
    let gone = core::iter::from_fn(|| table.next_condemned(&mut places)).count();
    assert_eq!((gone, table.has_condemned(), places.held(account)), (3, false, 0));
}

#[test]
fn flows_of_either_family_give_way_in_order() {
    let (v4, v6) = far_ends();
    gives_way_in_order(v4[0]);
    gives_way_in_order(v6[0]);
}

/// Opens flows from `near` as long as its account has room; how many.
fn fill<A: Address>(
    table: &mut FlowTable<A>,
    places: &mut Share,
    near: ClientSlot,
    far: A,
    most: u16,
) -> u16 {
    let open = |port: &u16| {
        let has_room = !table.is_full() && places.has_room(Account::client(near));
        has_room && table.insert(flow(near, protocol::UDP, *port, far), NOW, places).is_ok()
    };
    (1..=most).take_while(open).count() as u16
}

#[test]
fn flows_of_both_families_draw_on_one_part_of_an_account() {
    let (v4, v6) = far_ends();
    let (mut table_v4, mut table_v6, mut places) = (table(), table(), places());
    let account = Account::client(CLIENT);
    // 48 in all, whatever the family.
    assert_eq!(fill(&mut table_v4, &mut places, CLIENT, v4[0], 30), 30);
    assert_eq!(fill(&mut table_v6, &mut places, CLIENT, v6[0], 64), 18);
    assert_eq!(fill(&mut table_v4, &mut places, CLIENT, v4[1], 64), 0);
    assert_eq!((places.held(account), places.fault(table_v4.len() + table_v6.len())), (48, None));
    // A newcomer is guaranteed its own part, in both.
    places.set_membership(Account::client(OTHER), Membership::Member);
    assert_eq!(fill(&mut table_v6, &mut places, OTHER, v6[1], 10), 10);
    assert_eq!(places.debtor_to(Account::client(OTHER)), Some(account));
    // What one family gives back the other may take.
    let id = table_v4.oldest(account, Want::Place, Protection::Unassured).unwrap();
    table_v4.remove(id, &mut places);
    assert_eq!(places.held(account), 47);
    places.set_membership(Account::client(OTHER), Membership::Guest);
    assert_eq!(fill(&mut table_v6, &mut places, CLIENT, v6[1], 64), 1);
    assert_eq!((places.held(account), places.fault(table_v4.len() + table_v6.len())), (48, None));
}

#[test]
fn p_10_a_long_chain_gives_the_table_new_keys_and_every_flow_is_found() {
    let mut table = FlowTable::<Ipv4Addr>::new(256, Timeouts::default(), (1, 2), NOW);
    let mut places = Share::new(256, 256);
    table.key = MultilinearKey::constant();
    let far = |last| Ipv4Addr::new(192, 0, 2, last);
    let flows: Vec<Flow> = (1..=200).map(|last| flow(CLIENT, protocol::UDP, last, far(last as u8))).collect();
    let ids: Vec<_> = flows.iter().map(|flow| table.insert(*flow, NOW, &mut places).unwrap()).collect();
    assert!(table.longest_chain() < MAX_CHAIN, "{}", table.longest_chain());
    for (flow, id) in flows.iter().zip(ids) {
        assert_eq!(table.find(&FlowKey::internal(flow)), Some(id));
        assert_eq!(table.find(&FlowKey::external(flow).unwrap()), Some(id));
    }
}
