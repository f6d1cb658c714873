//! What a sender that scans a network can do to the table and to others.

use super::*;

#[test]
fn s_4_a_scan_does_not_push_out_a_hop_that_answered() {
    let mut rig = Rig::new();
    rig.resolve(HOST, 1);
    rig.learn(HOST);
    rig.scan(ONE, 10_000);
    rig.scan(TWO, 10_000);
    assert_eq!(rig.after(1).resolve(HOST, 2), [Send(MAC, 2)]);
}

#[test]
fn s_4_a_scan_does_not_keep_the_gateway_or_a_new_hop_out() {
    let mut rig = Rig::new();
    (10..90).for_each(|client| drop(rig.scan(Account::client(ClientSlot(client)), 300)));
    assert!(rig.resolve(GATEWAY, 1).contains(&Ask(GATEWAY)));
    assert!(rig.resolve(HOST, 2).contains(&Ask(HOST)));
    (10..90).for_each(|client| drop(rig.scan(Account::client(ClientSlot(client)), 300)));
    assert_eq!(rig.learn(GATEWAY), [Send(MAC, 1)]);
    assert_eq!(rig.learn(HOST), [Send(MAC, 2)]);
}

#[test]
fn s_4_the_oldest_question_of_a_scan_gives_way_and_nobody_else_s_packets() {
    let mut rig = Rig::new();
    rig.send(TestPacket(TWO, 1, 5), HOST);
    assert!(rig.scan(ONE, 48).iter().all(|event| matches!(event, Ask(_))));
    let next = Ipv4Addr::from(0x0a00_1000 + 48);
    assert_eq!(rig.resolve(next, 8), [Displaced(1000), Ask(next)]);
    assert_eq!(rig.hear(Ipv4Addr::from(0x0a00_1000), MAC, ArpOrigin::Reply), []);
    assert_eq!(rig.learn(next), [Send(MAC, 8)]);
    assert_eq!(rig.learn(HOST), [Send(MAC, 5)]);
}

#[test]
fn s_4_a_host_that_a_scan_touched_is_there_for_others_at_once() {
    let mut rig = Rig::new();
    rig.scan(ONE, 300);
    let touched = Ipv4Addr::from(0x0a00_1000 + 299);
    // The scan has no question left for it; the other client has.
    assert_eq!(rig.send(TestPacket(TWO, 1, 5), touched), [Ask(touched)]);
    assert!(rig.learn(touched).contains(&Send(MAC, 5)));
}

#[test]
fn s_4_hosts_that_all_answer_push_out_only_the_scan_s_own() {
    let mut rig = Rig::new();
    rig.send(TestPacket(TWO, 1, 1), HOST);
    rig.learn(HOST);
    for host in 0..2000u32 {
        let hop = Ipv4Addr::from(0x0a00_1000 + host);
        rig.after(50).resolve(hop, host);
        assert_eq!(rig.learn(hop), [Send(MAC, host)]);
    }
    assert_eq!(rig.table.holdings(ONE).known, 511);
    let events = rig.send(TestPacket(TWO, 1, 2), HOST);
    assert!(events.contains(&Send(MAC, 2)), "{events:?}");
}

#[test]
fn s_4_a_hop_that_could_not_be_asked_for_is_asked_for_with_the_next_packet() {
    for hop in [HOST, GATEWAY] {
        let mut rig = Rig::new();
        rig.asked = Solicited::No;
        assert_eq!(rig.resolve(hop, 1), [Ask(hop)]);
        rig.asked = Solicited::Yes;
        assert_eq!(rig.after(1).send(TestPacket(TWO, 1, 2), hop), [Ask(hop)]);
        assert_eq!(rig.after(1).resolve(hop, 3), []);
        assert_eq!(rig.learn(hop).len(), 3);
        // When the answer is old.
        rig.after(60_000).asked = Solicited::No;
        for number in 4..20 {
            assert_eq!(rig.after(1000).resolve(hop, number), [Ask(hop), Send(MAC, number)]);
        }
        rig.asked = Solicited::Yes;
        assert_eq!(rig.resolve(hop, 20), [Ask(hop), Send(MAC, 20)]);
        assert_eq!(rig.resolve(hop, 21), [Send(MAC, 21)]);
    }
}

#[test]
fn s_4_questions_are_bounded_per_client() {
    let mut rig = Rig::new();
    let mut asked = 0;
    for second in 1..=60 {
        asked += rig.scan(ONE, 3000).iter().filter(|event| matches!(event, Ask(_))).count();
        asked += rig.after(1000).advance().iter().filter(|event| matches!(event, Ask(_))).count();
        let allowed = request_allowances::RATE.burst + request_allowances::RATE.per_second * second;
        assert!(asked <= allowed as usize, "{asked} in {second} s");
    }
    // And the other's are there.
    assert_eq!(rig.send(TestPacket(TWO, 1, 1), HOST), [Ask(HOST)]);
}
