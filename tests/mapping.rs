//! Mapping and filtering: conformance M-1 to M-10, I-1, F-11 (RFC 4787, RFC 5382, RFC 5508).
#![allow(missing_docs)]

mod support;
use support::*;

#[test]
fn m_1_one_outer_port_serves_all_remotes() {
    let mut world = World::new();
    let first = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let second = world.out_u(ONE, udp((C1, 5000), (S, 123)));
    assert_eq!((first.source(), second.source()), (F, F));
    assert_eq!(first.source_port(), second.source_port());
    first.assert_sums();
    second.assert_sums();
}

#[test]
fn a_reply_returns_to_the_client_that_asked() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let answered = world.out_c(ONE, udp((R, 53), asked.from()));
    assert_eq!((answered.from(), answered.to()), ((R, 53), (C1, 5000)));
    answered.assert_sums();
}

#[test]
fn i_1_an_echo_reply_returns_under_the_clients_identifier() {
    let mut world = World::new();
    let asked = world.out_u(ONE, echo_request(C1, R, 7));
    assert_eq!(asked.source(), F);
    asked.assert_sums();
    let answered = world.out_c(ONE, echo_reply(R, F, asked.icmp_ident()));
    assert_eq!((answered.destination(), answered.icmp_ident()), (C1, 7));
    answered.assert_sums();
}

#[test]
fn a_tcp_handshake_passes() {
    let mut world = World::new();
    let syn = world.out_u(ONE, tcp((C1, 40000), (R, 80), "S", 1000, 0));
    let outer = syn.from();
    syn.assert_sums();
    let answer = world.out_c(ONE, tcp((R, 80), outer, "SA", 5000, 1001));
    assert_eq!(answer.to(), (C1, 40000));
    answer.assert_sums();
    let data = world.out_u(ONE, tcp_with((C1, 40000), (R, 80), "PA", 1001, 5001, b"GET /"));
    assert_eq!(data.from(), outer);
    data.assert_sums();
}
