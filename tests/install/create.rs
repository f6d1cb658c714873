//! `create`: a qube with all that one without programs of Qubes needs, or none.

use crate::dom0::Dom0;

#[test]
fn a_new_qube_has_what_one_without_qubes_programs_needs() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    let properties = [
        ("kernel", "ravelin-1"),
        ("kernelopts", ""),
        ("memory", "32"),
        ("maxmem", "0"),
        ("vcpus", "1"),
        ("virt_mode", "pvh"),
        ("provides_network", "True"),
        ("netvm", "sys-net"),
        ("audiovm", ""),
    ];
    for (property, value) in properties {
        assert_eq!(
            dom0.read("sys-ravelin", &format!("prefs/{property}")).as_deref(),
            Some(value),
            "{property}"
        );
    }
    for (feature, value) in [("qubes-firewall", "1"), ("skip-update", "1"), ("gui", "")] {
        assert_eq!(
            dom0.read("sys-ravelin", &format!("features/{feature}")).as_deref(),
            Some(value),
            "{feature}"
        );
    }
    dom0.succeeds("1", &["create", "--pv", "--netvm=sys-firewall", "fw"]);
    let [mode, netvm] = ["virt_mode", "netvm"].map(|property| dom0.read("fw", &format!("prefs/{property}")));
    assert_eq!((mode.as_deref(), netvm.as_deref()), (Some("pv"), Some("sys-firewall")));
    dom0.fails("1", &["create"], "there is a qube sys-ravelin already");
}

#[test]
fn the_way_to_the_network_is_checked_before_anything_is_made() {
    let dom0 = Dom0::new();
    let why = dom0.fails("1", &["create", "--netvm=work"], "work does not provide network");
    assert!(why.contains("These do: sys-firewall sys-net"), "{why}");
    dom0.fails("1", &["create", "--netvm=nowhere"], "there is no qube nowhere: say which one");
    assert_eq!((dom0.kernels(), dom0.qube("sys-ravelin").exists()), (0, false));
}

#[test]
fn a_firewall_may_have_no_network_yet() {
    let dom0 = Dom0::new();
    for (argument, qube) in [("--netvm=", "a"), ("--netvm=none", "b")] {
        assert!(dom0.succeeds("1", &["create", argument, qube]).contains("behind no other qube yet"));
        assert_eq!(dom0.read(qube, "prefs/netvm").as_deref(), Some(""));
    }
}

#[test]
fn where_there_is_no_default_network_it_is_said_how_qubes_get_this_one() {
    let dom0 = Dom0::new();
    assert!(!dom0.succeeds("1", &["create", "a"]).contains("default"));
    for none in ["", "None"] {
        dom0.default_netvm(none);
        let qube = format!("fw{none}");
        let said = dom0.succeeds("1", &["create", &qube]);
        assert!(said.contains(&format!("no default network: qubes-prefs default_netvm {qube}")), "{said}");
    }
}

#[test]
fn a_qube_that_cannot_be_made_is_not_left_half_made() {
    for command in ["qvm-features * skip-update 1", "qvm-features * gui*", "qvm-features * qubes-firewall 1"]
    {
        let dom0 = Dom0::new();
        dom0.fails_at(command);
        let said = dom0.fails("1", &["create"], "sys-ravelin could not be given its features");
        assert!(said.contains("sys-ravelin was not complete: it is removed again"), "{said}");
        assert!(!dom0.qube("sys-ravelin").exists(), "{command}");
    }
    let dom0 = Dom0::new();
    dom0.fails_at("qvm-features*\nqvm-remove*");
    dom0.fails(
        "1",
        &["create"],
        "sys-ravelin is not complete, and could not be removed: qvm-remove sys-ravelin",
    );
    // It is not taken for a whole one later.
    let _ = std::fs::remove_file(dom0.place.join("qubes/fails"));
    dom0.fails("1", &["create"], "sys-ravelin was begun and is not complete");
}

#[test]
fn somebody_elses_qube_is_not_removed() {
    let dom0 = Dom0::new();
    // It comes to be between the look and the creation.
    dom0.stand_in(
        "qvm-check",
        "#!/bin/sh\n[ \"$2\" != sys-ravelin ] || [ -e \"$QUBES/asked\" ] || { : >\"$QUBES/asked\"; exit 1; }\n",
    );
    dom0.add("sys-ravelin", None);
    dom0.fails("1", &["create"], "sys-ravelin could not be created");
    assert!(dom0.qube("sys-ravelin").exists());
}

#[test]
fn what_is_not_understood_changes_nothing() {
    let dom0 = Dom0::new();
    for arguments in [&["create", "--hvm"][..], &["creat"], &["create", "a", "b"], &["take-clients"], &[]] {
        assert!(!dom0.run("1", arguments).status.success(), "{arguments:?}");
    }
    assert_eq!(dom0.kernels(), 0);
}
