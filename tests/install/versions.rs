//! A folder per version: upgrade, roll back, and what the RPM keeps.

use std::fs;

use crate::dom0::Dom0;

#[test]
fn an_upgrade_and_a_roll_back_change_the_kernel_and_nothing_that_runs() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    dom0.write("sys-ravelin", "running", "");
    dom0.fails("1", &["roll-back"], "has had no other version");
    assert!(dom0.succeeds("2", &["upgrade"]).contains("It runs with ravelin-1 until"));
    let kernel = || dom0.read("sys-ravelin", "prefs/kernel").unwrap();
    assert_eq!(kernel(), "ravelin-2");
    assert!(dom0.kernel("1", "vmlinuz").exists());
    dom0.succeeds("2", &["upgrade"]);
    dom0.succeeds("2", &["roll-back"]);
    assert_eq!(kernel(), "ravelin-1");
    dom0.succeeds("2", &["roll-back"]);
    assert_eq!(kernel(), "ravelin-2");
    fs::remove_dir_all(dom0.kernel("1", "")).unwrap();
    dom0.fails("2", &["roll-back"], "is not there any more");
    dom0.fails("2", &["upgrade", "sys-firewall"], "is no Ravelin qube");
}

#[test]
fn no_rules_are_lost_from_one_version_to_another() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    fs::write(dom0.kernel("1", "initramfs"), "[permit]").unwrap();
    dom0.fails("2", &["upgrade"], "has a rule file");
    assert_eq!(dom0.read("sys-ravelin", "prefs/kernel").as_deref(), Some("ravelin-1"));
    fs::write(dom0.kernel("2", "initramfs"), "[permit]").unwrap();
    dom0.succeeds("2", &["upgrade"]);
    fs::remove_file(dom0.kernel("1", "initramfs")).unwrap();
    dom0.fails("2", &["roll-back"], "has a rule file");
}

#[test]
fn a_qube_keeps_its_kernel_when_the_former_one_cannot_be_noted() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    dom0.fails_at("qvm-features * ravelin-former-kernel ravelin-1");
    let said = dom0.fails("2", &["upgrade"], "could not be noted");
    assert!(said.contains("sys-ravelin starts with ravelin-1 as before"), "{said}");
    assert_eq!(dom0.read("sys-ravelin", "prefs/kernel").as_deref(), Some("ravelin-1"));
}

#[test]
fn the_rpm_of_a_version_that_a_qube_starts_with_is_not_removed() {
    let dom0 = Dom0::new();
    assert!(dom0.before_removal("1").status.success());
    dom0.succeeds("1", &["create"]);
    let refused = dom0.before_removal("1");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert_eq!(said, "ravelin-1 stays:\nsys-ravelin starts with it\n");
    assert!(dom0.before_removal("2").status.success());
}

#[test]
fn nor_is_that_of_a_version_that_a_qube_would_be_rolled_back_to() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    dom0.succeeds("2", &["upgrade"]);
    let refused = dom0.before_removal("1");
    let said = String::from_utf8_lossy(&refused.stderr);
    let way = "qvm-features --unset sys-ravelin ravelin-former-kernel";
    assert!(!refused.status.success() && said.contains(way), "{said}");
    // One that is not sure refuses.
    dom0.fails_at("qvm-features *");
    assert!(!dom0.before_removal("3").status.success());
    fs::remove_file(dom0.place.join("qubes/fails")).unwrap();
    assert!(dom0.before_removal("3").status.success());
    fs::remove_file(dom0.qube("sys-ravelin").join("features/ravelin-former-kernel")).unwrap();
    assert!(dom0.before_removal("1").status.success());
}

#[test]
fn nor_is_that_of_the_default_kernel() {
    let dom0 = Dom0::new();
    dom0.stand_in("qubes-prefs", "#!/bin/sh\necho ravelin-1\n");
    assert!(!dom0.before_removal("1").status.success());
    assert!(dom0.before_removal("2").status.success());
}
