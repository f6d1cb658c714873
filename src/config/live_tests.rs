//! Every setter queues what it changed, and nothing else.

use super::*;
use crate::tables::allowance::Rate;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const MEMORY: u64 = 16 << 20;

fn live(command_line: &str) -> Live {
    let (options, errors) = CommandLine::parse(command_line);
    assert_eq!(errors, []);
    Live::boot(&options, RuleConfig::None, MEMORY)
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Ipv4Prefix {
    text.parse().unwrap()
}

/// What `act` changed, in short.
fn changed(live: &mut Live, act: impl FnOnce(&mut Live, &mut ChangeQueue)) -> Vec<String> {
    let mut changes = ChangeQueue::default();
    act(live, &mut changes);
    core::iter::from_fn(|| changes.pop()).map(|change| in_short(&change)).collect()
}

fn in_short(change: &Change) -> String {
    match change {
        Change::Route { to: None, .. } => "no route".into(),
        Change::Route { to: Some(route), .. } => format!("{} via {}", route.address(), route.gateway()),
        Change::ClientGateway(address) => format!("clients' gateway {address}"),
        Change::Rules(_, report) => match &**report {
            RulesReport::NoFile => "no rules".into(),
            RulesReport::NoFileInQube => "no rules in a qube".into(),
            RulesReport::Read { bytes, passed_over, problems } => {
                let wrong = problems.list.len();
                match passed_over {
                    0 => format!("rules of {bytes} bytes, {wrong} wrong"),
                    _ => format!("rules of {bytes} bytes, {wrong} wrong, {passed_over} sections passed over"),
                }
            }
        },
        Change::LogLevel(level) => level.to_string(),
        Change::Refused(refused) => refused.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_address_that_was_not_there_at_boot_makes_a_route() {
    let mut live = live("gateway=10.0.0.1");
    assert_eq!((live.route(), live.settings().uplink), (None, Ipv4Addr::UNSPECIFIED));
    let set = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_address(Source::Toolstack, Some(prefix("10.0.0.2/24")), changes);
    };
    assert_eq!(changed(&mut live, set), ["10.0.0.2/24 via 10.0.0.1", "clients' gateway 10.0.0.2"]);
    assert_eq!(live.address(), Some((prefix("10.0.0.2/24"), Source::Toolstack)));
    let settings = live.settings();
    assert_eq!((settings.uplink, settings.uplink_prefix_bits), (address("10.0.0.2"), 24));
    assert_eq!(settings.client_gateway, settings.uplink);
    // The same once more changes nothing.
    assert_eq!(changed(&mut live, set), [""; 0]);
    let unset = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_address(Source::Toolstack, None, changes);
    };
    assert_eq!(changed(&mut live, unset), ["no route", "clients' gateway 0.0.0.0"]);
}

#[test]
fn the_device_s_address_goes_before_the_configured_one_and_has_its_length() {
    let mut live = live("ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1");
    let given = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_device_address(Some(address("10.0.0.9")), changes);
    };
    assert_eq!(changed(&mut live, given), ["10.0.0.9/24 via 10.0.0.1"]);
    assert_eq!(live.address(), Some((prefix("10.0.0.9/24"), Source::Toolstack)));
    let taken = |live: &mut Live, changes: &mut ChangeQueue| live.set_device_address(None, changes);
    assert_eq!(changed(&mut live, taken), ["10.0.0.2/24 via 10.0.0.1"]);
    assert_eq!(live.address(), Some((prefix("10.0.0.2/24"), Source::Boot)));
}

/// What the toolstack says of the device.
fn device_says(text: &str) -> impl FnOnce(&mut Live, &mut ChangeQueue) + use<> {
    let given = Some(address(text));
    move |live, changes| live.set_device_address(given, changes)
}

/// What moves us and the gateway.
fn moves_to(ours: &str, gateway: &str) -> impl FnOnce(&mut Live, &mut ChangeQueue) + use<> {
    let (ours, gateway) = (Some(prefix(ours)), Some(address(gateway)));
    move |live, changes| live.set_uplink(Source::Toolstack, ours, gateway, changes)
}

const CONFIGURED: &str = "ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1";

#[test]
fn a_device_s_address_outside_the_configured_network_reaches_the_gateway_directly() {
    let mut live = live(CONFIGURED);
    assert_eq!(changed(&mut live, device_says("10.0.5.7")), ["10.0.5.7 via 10.0.0.1"]);
    assert_eq!(live.address(), Some((prefix("10.0.5.7/32"), Source::Toolstack)));
    let settings = live.settings();
    assert_eq!((settings.uplink, settings.uplink_prefix_bits), (address("10.0.5.7"), 32));
    // The address that names a network is a host's where the network is another one.
    assert_eq!(changed(&mut live, device_says("10.0.0.255")), ["10.0.0.255 via 10.0.0.1"]);
    assert_eq!(changed(&mut live, device_says("10.0.0.9")), ["10.0.0.9/24 via 10.0.0.1"]);
}

#[test]
fn a_device_s_address_is_kept_until_what_it_goes_with_is_configured() {
    let mut live = live(CONFIGURED);
    assert_eq!(changed(&mut live, device_says("10.0.9.7")), ["10.0.9.7 via 10.0.0.1"]);
    assert_eq!(changed(&mut live, moves_to("10.0.9.2/24", "10.0.9.1")), ["10.0.9.7/24 via 10.0.9.1"]);
    // It is the gateway's address meanwhile: the configured one is in effect.
    let gateway = moves_to("10.0.9.2/24", "10.0.9.7");
    assert_eq!(
        changed(&mut live, gateway),
        ["the uplink device's address cannot be 10.0.9.7: it is the gateway's", "10.0.9.2/24 via 10.0.9.7"]
    );
    assert_eq!(live.address(), Some((prefix("10.0.9.2/24"), Source::Toolstack)));
    assert_eq!(changed(&mut live, moves_to("10.0.9.2/24", "10.0.9.1")), ["10.0.9.7/24 via 10.0.9.1"]);
}

#[test]
fn another_network_is_configured_whatever_address_the_device_has() {
    let mut live = live(CONFIGURED);
    assert_eq!(changed(&mut live, device_says("10.0.0.7")), ["10.0.0.7/24 via 10.0.0.1"]);
    assert_eq!(changed(&mut live, moves_to("10.0.9.2/24", "10.0.9.1")), ["10.0.0.7 via 10.0.9.1"]);
    assert_eq!(changed(&mut live, device_says("10.0.9.7")), ["10.0.9.7/24 via 10.0.9.1"]);
}

#[test]
fn a_device_s_address_that_cannot_be_ours_is_told_when_it_is_new_and_the_configured_one_is_in_effect() {
    let mut live = live(CONFIGURED);
    assert_eq!(changed(&mut live, device_says("10.0.0.9")), ["10.0.0.9/24 via 10.0.0.1"]);
    let refused = "the uplink device's address cannot be 255.255.255.255: 240.0.0.0/4 is reserved";
    let broadcast = || device_says("255.255.255.255");
    assert_eq!(changed(&mut live, broadcast()), [refused, "10.0.0.2/24 via 10.0.0.1"]);
    // The same once more, and what has nothing to do with it, say nothing.
    assert_eq!(changed(&mut live, broadcast()), [""; 0]);
    assert_eq!(changed(&mut live, moves_to("10.0.9.2/24", "10.0.9.1")), ["10.0.9.2/24 via 10.0.9.1"]);
    // It is new after another one.
    assert_eq!(changed(&mut live, device_says("10.0.9.7")), ["10.0.9.7/24 via 10.0.9.1"]);
    assert_eq!(changed(&mut live, broadcast()), [refused, "10.0.9.2/24 via 10.0.9.1"]);
}

#[test]
fn a_device_s_address_that_is_taken_back_before_anybody_was_told_is_no_change() {
    let mut live = live(CONFIGURED);
    for other in ["10.0.0.9", "10.0.5.7"] {
        let there_and_back = |live: &mut Live, changes: &mut ChangeQueue| {
            device_says(other)(live, changes);
            live.set_device_address(None, changes);
        };
        assert_eq!(changed(&mut live, there_and_back), [""; 0]);
    }
    assert_eq!(changed(&mut live, device_says("10.0.5.7")), ["10.0.5.7 via 10.0.0.1"]);
    assert_eq!(changed(&mut live, device_says("10.0.5.7")), [""; 0]);
    let there_and_back = |live: &mut Live, changes: &mut ChangeQueue| {
        device_says("10.0.0.9")(live, changes);
        device_says("10.0.5.7")(live, changes);
    };
    assert_eq!(changed(&mut live, there_and_back), [""; 0]);
}

#[test]
fn the_device_s_address_alone_is_not_enough() {
    let mut live = live("gateway=10.0.0.1");
    let given = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_device_address(Some(address("10.0.0.9")), changes);
    };
    assert_eq!(changed(&mut live, given), [""; 0]);
    assert_eq!(live.address(), None);
}

#[test]
fn an_address_that_is_taken_back_before_anybody_was_told_is_no_change() {
    let mut live = live("ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1");
    let address = |text: Option<&str>| {
        let address = text.map(prefix);
        move |live: &mut Live, changes: &mut ChangeQueue| {
            live.set_address(Source::Toolstack, address, changes)
        }
    };
    let there_and_back = |live: &mut Live, changes: &mut ChangeQueue| {
        address(Some("10.0.0.9/24"))(live, changes);
        address(None)(live, changes);
    };
    assert_eq!(changed(&mut live, there_and_back), [""; 0]);
    let mut changes = ChangeQueue::default();
    let before = live.route();
    address(Some("10.0.0.9/24"))(&mut live, &mut changes);
    address(Some("10.0.0.8/24"))(&mut live, &mut changes);
    let Some(Change::Route { from, to }) = changes.pop() else { panic!("the address is not told") };
    assert_eq!((from, to), (before, live.route()));
    assert!(changes.is_empty());
}

#[test]
fn a_gateway_is_set_changed_and_taken_back() {
    let mut live = live("ipv4=10.0.0.2/24");
    let set = |gateway: Option<&str>| {
        let gateway = gateway.map(address);
        move |live: &mut Live, changes: &mut ChangeQueue| live.set_gateway(Source::Boot, gateway, changes)
    };
    let first = changed(&mut live, set(Some("10.0.0.1")));
    assert_eq!(first, ["10.0.0.2/24 via 10.0.0.1", "clients' gateway 10.0.0.2"]);
    assert_eq!(changed(&mut live, set(Some("10.0.0.7"))), ["10.0.0.2/24 via 10.0.0.7"]);
    assert_eq!(live.gateway(), Some((address("10.0.0.7"), Source::Boot)));
    assert_eq!(changed(&mut live, set(None)), ["no route", "clients' gateway 0.0.0.0"]);
}

#[test]
fn what_the_command_line_may_not_say_is_refused_later_too() {
    let mut live = live("ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1 dns=10.0.0.1");
    let before = (live.route(), live.client_gateway(), live.resolvers().to_vec());
    let mut refused = |set: &dyn Fn(&mut Live, &mut ChangeQueue)| {
        let changes = changed(&mut live, set);
        assert_eq!((live.route(), live.client_gateway(), live.resolvers().to_vec()), before);
        changes
    };
    for (ours, why) in [
        ("10.0.0.0/24", "our address on the uplink cannot be 10.0.0.0: it names the network"),
        ("127.0.0.1/8", "our address on the uplink cannot be 127.0.0.1: 127.0.0.0/8 is the loopback network"),
        ("10.0.0.2/0", "our address on the uplink cannot be 10.0.0.2: /0 is no network"),
        ("10.0.0.1/24", "the gateway cannot be 10.0.0.1: it is our own address"),
        (
            "10.0.1.2/24",
            "the gateway cannot be 10.0.0.1: it is outside 10.0.1.0/24, the network of our address",
        ),
    ] {
        let set = |live: &mut Live, changes: &mut ChangeQueue| {
            live.set_address(Source::Toolstack, Some(prefix(ours)), changes);
        };
        assert_eq!(refused(&set), [why]);
    }
    for (gateway, why) in [
        ("10.0.0.255", "the gateway cannot be 10.0.0.255: it is the network's broadcast address"),
        ("224.0.0.1", "the gateway cannot be 224.0.0.1: 224.0.0.0/4 is multicast"),
    ] {
        let set = |live: &mut Live, changes: &mut ChangeQueue| {
            live.set_gateway(Source::Toolstack, Some(address(gateway)), changes);
        };
        assert_eq!(refused(&set), [why]);
    }
    let device = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_device_address(Some(Ipv4Addr::BROADCAST), changes);
    };
    assert_eq!(
        refused(&device),
        ["the uplink device's address cannot be 255.255.255.255: 240.0.0.0/4 is reserved"]
    );
    let clients = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_client_gateway(Source::Toolstack, Some(Ipv4Addr::UNSPECIFIED), changes);
    };
    assert_eq!(refused(&clients), ["the clients' gateway cannot be 0.0.0.0: 0.0.0.0/8 names no host"]);
    let resolvers = |live: &mut Live, changes: &mut ChangeQueue| {
        let resolvers = [address("10.0.0.1"), Ipv4Addr::LOCALHOST].into_iter().collect();
        live.set_resolvers(Source::Toolstack, Some(resolvers), changes);
    };
    assert_eq!(
        refused(&resolvers),
        ["a name server cannot be 127.0.0.1: 127.0.0.0/8 is the loopback network"]
    );
}

#[test]
fn our_address_and_the_gateway_move_to_another_network_together() {
    let mut live = live("ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1");
    let set = |live: &mut Live, changes: &mut ChangeQueue| {
        let (ours, gateway) = (prefix("10.0.1.2/24"), address("10.0.1.1"));
        live.set_uplink(Source::Toolstack, Some(ours), Some(gateway), changes);
    };
    assert_eq!(changed(&mut live, set), ["10.0.1.2/24 via 10.0.1.1"]);
}

#[test]
fn a_clients_gateway_that_is_set_does_not_follow_our_address() {
    let mut live = live("ipv4=10.0.0.2/24 gateway=10.0.0.1");
    let set = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_client_gateway(Source::Toolstack, Some(address("10.137.0.1")), changes);
    };
    assert_eq!(changed(&mut live, set), ["clients' gateway 10.137.0.1"]);
    let moved = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_address(Source::Toolstack, Some(prefix("10.0.0.9/16")), changes);
    };
    assert_eq!(changed(&mut live, moved), ["10.0.0.9/16 via 10.0.0.1"]);
}

#[test]
fn rules_about_dns_are_compiled_anew_when_the_resolvers_change() {
    let mut live = live("");
    let rules = RuleConfig::File(Cow::Owned(b"[default]\naction=accept specialtarget=dns\n".to_vec()));
    let set_rules = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_rules(Source::Toolstack, Some(rules), changes);
    };
    assert_eq!(changed(&mut live, set_rules), ["rules of 42 bytes, 1 wrong"]);
    let set = |list: &[&str]| {
        let resolvers: Resolvers = list.iter().copied().map(address).collect();
        move |live: &mut Live, changes: &mut ChangeQueue| {
            live.set_resolvers(Source::Toolstack, Some(resolvers), changes);
        }
    };
    assert_eq!(changed(&mut live, set(&["10.139.1.1"])), ["rules of 42 bytes, 0 wrong"]);
    assert_eq!(live.resolvers(), [address("10.139.1.1")]);
    assert_eq!(changed(&mut live, set(&["10.139.1.1"])), [""; 0]);
    assert_eq!(changed(&mut live, set(&["10.139.1.1", "10.139.1.2"])), ["rules of 42 bytes, 0 wrong"]);
    assert_eq!(changed(&mut live, set(&[])), ["rules of 42 bytes, 1 wrong"]);
}

#[test]
fn rules_that_are_taken_back_leave_those_of_boot() {
    let (options, _) = CommandLine::parse("");
    let mut live = Live::boot(&options, RuleConfig::File(Cow::Borrowed(b"[default]\n")), MEMORY);
    let set = |rules: Option<RuleConfig>| {
        move |live: &mut Live, changes: &mut ChangeQueue| live.set_rules(Source::Toolstack, rules, changes)
    };
    assert_eq!(changed(&mut live, set(Some(RuleConfig::None))), ["no rules"]);
    // The same once more changes nothing, nor do others of boot beneath it.
    assert_eq!(changed(&mut live, set(Some(RuleConfig::None))), [""; 0]);
    assert_eq!(changed(&mut live, set(None)), ["rules of 10 bytes, 0 wrong"]);
}

#[test]
fn limits_are_set_at_run_time() {
    let mut live = live("client-flows=1000 client-ports=200");
    let limits = ClientLimits { flows: Some(7), ports: None, new_flows: Some(30) };
    let mut changes = ChangeQueue::default();
    live.set_limits(Source::Toolstack, Some(limits), &mut changes);
    let Some(Change::Quotas(quotas)) = changes.pop() else { panic!("the limits are not told") };
    // What is not said is as it was.
    assert_eq!((quotas.flows_per_client, quotas.ports_per_client), (7, 200));
    assert_eq!(quotas.new_flows, Rate { per_second: 30, burst: 120 });
    assert_eq!(quotas, live.settings().quotas);
    live.set_limits(Source::Toolstack, None, &mut changes);
    let Some(Change::Quotas(quotas)) = changes.pop() else { panic!("the limits are not told") };
    assert_eq!((quotas.flows_per_client, quotas.ports_per_client), (1000, 200));
    assert!(changes.is_empty());
}

#[test]
fn pings_and_the_log_level_are_set_at_run_time() {
    let mut live = live("log=warn");
    let pings = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_uplink_pings(Source::Toolstack, Some(UplinkPings::Ignored), changes);
    };
    assert_eq!(changed(&mut live, pings), ["UplinkPings(Ignored)"]);
    let level = |live: &mut Live, changes: &mut ChangeQueue| {
        live.set_log_level(Source::Toolstack, Some(LevelFilter::Debug), changes);
    };
    assert_eq!(changed(&mut live, level), ["DEBUG"]);
    assert_eq!(live.log_level(), LevelFilter::Debug);
    assert_eq!(live.settings().uplink_pings, UplinkPings::Ignored);
}
