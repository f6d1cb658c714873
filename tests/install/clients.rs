//! `take-clients` and `return-clients`.

use crate::dom0::Dom0;

#[test]
fn clients_are_taken_and_return_to_what_they_had() {
    let dom0 = Dom0::new();
    dom0.add("other", Some("sys-net"));
    dom0.write("work", "running", "");
    dom0.succeeds("1", &["create"]);
    dom0.succeeds("1", &["take-clients", "sys-firewall"]);
    let netvm = |qube| dom0.read(qube, "prefs/netvm");
    for client in ["work", "vault"] {
        assert_eq!(netvm(client).as_deref(), Some("sys-ravelin"), "{client}");
    }
    assert_eq!(netvm("other").as_deref(), Some("sys-net"));
    // One that runs is attached at once, so the firewall was started before.
    assert!(dom0.read("sys-ravelin", "running").is_some());
    // One that was given this network by hand stays.
    dom0.add("mine", Some("sys-ravelin"));
    dom0.succeeds("1", &["return-clients"]);
    assert_eq!((netvm("work"), netvm("vault").as_deref()), (None, Some("sys-firewall")));
    assert_eq!(netvm("mine").as_deref(), Some("sys-ravelin"));
    assert_eq!(dom0.read("work", "features/ravelin-former-netvm"), None);
}

#[test]
fn what_cannot_be_moved_is_named_and_the_others_move() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create", "--netvm=sys-firewall"]);
    // The firewall of the firewall cannot be its client.
    dom0.fails("1", &["take-clients", "sys-net"], "not moved: sys-firewall");
    assert_eq!(dom0.read("sys-firewall", "prefs/netvm").as_deref(), Some("sys-net"));
    assert_eq!(dom0.read("sys-firewall", "features/ravelin-former-netvm"), None);
    dom0.succeeds("1", &["take-clients", "sys-firewall"]);
    assert_eq!(dom0.read("sys-ravelin", "prefs/netvm").as_deref(), Some("sys-firewall"));
}

#[test]
fn what_follows_a_default_that_is_none_returns_to_no_network() {
    let dom0 = Dom0::new();
    dom0.write("work", "running", "");
    dom0.succeeds("1", &["create"]);
    dom0.succeeds("1", &["take-clients", "sys-firewall"]);
    dom0.default_netvm("");
    let said = dom0.succeeds("1", &["return-clients"]);
    assert!(said.contains("work: back from sys-ravelin to no network, as is the default"), "{said}");
    assert_eq!(dom0.read("work", "prefs/netvm"), None);
}

#[test]
fn what_follows_a_default_that_is_the_firewall_itself_is_not_said_to_be_back() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    dom0.succeeds("1", &["take-clients", "sys-firewall"]);
    dom0.default_netvm("sys-ravelin");
    let said = dom0.fails("1", &["return-clients"], "not moved: work");
    assert!(
        said.contains("work follows the default network, which is sys-ravelin: say another one"),
        "{said}"
    );
    dom0.default_netvm("sys-firewall");
    dom0.succeeds("1", &["return-clients"]);
    assert_eq!(dom0.read("work", "features/ravelin-former-netvm"), None);
}

#[test]
fn commands_of_dom0_that_fail_are_not_taken_for_an_empty_answer() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    dom0.fails_at("qvm-ls*");
    assert!(!dom0.before_removal("1").status.success());
    dom0.fails("1", &["take-clients", "sys-firewall"], "qvm-ls does not work");
    dom0.fails("1", &["return-clients"], "qvm-ls does not work");
}
