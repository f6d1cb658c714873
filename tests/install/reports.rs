//! What users of Qubes OS and of another firewall kernel for it reported about kernels, packages and scripts like these.
//! Q: an issue of QubesOS/qubes-issues; M: of mirage/qubes-mirage-firewall.

use std::fs;

use crate::dom0::Dom0;

/// Q 849: an empty folder, left by a package, was offered as a kernel.
#[test]
fn an_empty_folder_is_no_kernel() {
    let dom0 = Dom0::new();
    fs::create_dir(dom0.kernel("1", "")).unwrap();
    dom0.fails("1", &["create"], "ravelin-1 is there and has no vmlinuz");
    dom0.succeeds("2", &["create"]);
    fs::create_dir_all(dom0.kernel("1", "")).unwrap();
    dom0.write("sys-ravelin", "features/ravelin-former-kernel", "ravelin-1");
    dom0.fails("2", &["roll-back"], "ravelin-1 is not there any more");
}

/// Q 848, Q 2757: dnf's limit of three kernels removed the one that a qube was set to, and it did not start any more.
#[test]
fn the_oldest_of_many_versions_stays_while_it_is_needed() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    for version in ["2", "3", "4"] {
        dom0.succeeds(version, &["kernel"]);
    }
    let stays = |version| !dom0.before_removal(version).status.success();
    assert_eq!(["1", "2", "3", "4"].map(stays), [true, false, false, false]);
    dom0.succeeds("4", &["upgrade"]);
    assert_eq!(["1", "2", "3", "4"].map(stays), [true, false, false, true]);
}

/// Q 2760: `qvm-ls | grep -q` broke its pipe, and the script that keeps a kernel failed for that.
#[test]
fn many_qubes_do_not_confuse_the_script_that_keeps_a_version() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    for number in 0..40 {
        dom0.add(&format!("zz-{number}"), None);
    }
    let refused = dom0.before_removal("1");
    assert_eq!(String::from_utf8_lossy(&refused.stderr), "ravelin-1 stays:\nsys-ravelin starts with it\n");
    assert!(dom0.before_removal("2").status.success());
}

/// M 138, Q 5516: "Error setting property kernel (but VM created)": a qube without its kernel was left, which then did not start.
#[test]
fn a_qube_without_its_kernel_is_not_left() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["kernel"]);
    // It goes between the look at it and the creation.
    let vmlinuz = dom0.kernel("1", "vmlinuz");
    dom0.stand_in(
        "sha256sum",
        &format!("#!/bin/sh\n/usr/bin/sha256sum\n[ ! -e '{0}' ] || rm '{0}'\n", vmlinuz.display()),
    );
    let said =
        dom0.fails("1", &["create"], "Kernel 'ravelin-1' not properly installed: missing 'vmlinuz' file");
    assert!(said.contains("sys-ravelin was not complete: it is removed again"), "{said}");
    assert!(!dom0.qube("sys-ravelin").exists());
}

/// M 70: dummy files were handed out that Qubes does not need; one named modules.img would even be a disk of the qube.
#[test]
fn a_kernel_folder_has_no_dummy_files() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["kernel"]);
    let mut names: Vec<_> = fs::read_dir(dom0.kernel("1", ""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["default-kernelopts-common.txt", "default-kernelopts-nopci.txt", "vmlinuz"]);
}

/// M 174: the settings window warned that rules do not hold, as the feature was lost on the way of a manual installation.
#[test]
fn the_settings_window_does_not_warn() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    dom0.succeeds("2", &["upgrade"]);
    dom0.succeeds("2", &["roll-back"]);
    assert_eq!(dom0.read("sys-ravelin", "features/qubes-firewall").as_deref(), Some("1"));
}

/// M 181, M 182: memory was taken from the firewall by ballooning, and it ran out of it.
#[test]
fn memory_is_not_taken_away() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    assert_eq!(dom0.read("sys-ravelin", "prefs/maxmem").as_deref(), Some("0"));
}

/// Q 6493, Q 8319, M 157: a client could not be taken from a network that had died; "no such property: 'netvm'" was all it said.
#[test]
fn a_client_that_cannot_be_moved_keeps_what_it_had() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    dom0.write("work", "running", "");
    dom0.fails_at("qvm-prefs work netvm *");
    dom0.fails("1", &["take-clients", "sys-firewall"], "not moved: work");
    assert_eq!(dom0.read("work", "features/ravelin-former-netvm"), None);
    assert_eq!(dom0.read("vault", "prefs/netvm").as_deref(), Some("sys-ravelin"));
}

/// Q 3011, Q 3287, Q 3942: nobody knew how to say "no network": `none` was taken for a name.
#[test]
fn no_network_may_be_called_none() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create", "--netvm=none"]);
    assert_eq!(dom0.read("sys-ravelin", "prefs/netvm").as_deref(), Some(""));
}

/// M 173: an installer put into place whatever it had downloaded.
#[test]
fn a_damaged_download_is_not_installed() {
    let dom0 = Dom0::new();
    let vmlinuz = dom0.unpack("1").join("vmlinuz");
    let whole = fs::read(&vmlinuz).unwrap();
    for damaged in [&whole[..whole.len() - 1], b""] {
        fs::write(&vmlinuz, damaged).unwrap();
        dom0.fails("1", &["create"], "is not the image of this version");
    }
    assert_eq!(dom0.kernels(), 0);
    fs::write(&vmlinuz, whole).unwrap();
    dom0.succeeds("1", &["create"]);
}

/// Q 9175: qubes that had a network of their own and such that follow the default must not be mixed up.
#[test]
fn who_follows_the_default_and_who_does_not_stays_as_it_was() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    dom0.succeeds("1", &["take-clients", "sys-firewall"]);
    // Taken twice, nothing is forgotten.
    dom0.succeeds("1", &["take-clients", "sys-firewall"]);
    dom0.succeeds("1", &["return-clients"]);
    let netvm = |qube| dom0.read(qube, "prefs/netvm");
    assert_eq!((netvm("work"), netvm("vault").as_deref()), (None, Some("sys-firewall")));
}
