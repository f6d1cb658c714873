//! The folder of a version among the kernels: whole, or not there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::dom0::{Dom0, image};

const EMPTY: [&str; 2] = ["default-kernelopts-common.txt", "default-kernelopts-nopci.txt"];

#[test]
fn it_has_the_image_and_two_empty_files_that_everybody_may_read() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["kernel"]);
    assert_eq!(fs::read_to_string(dom0.kernel("1", "vmlinuz")).unwrap(), image("1").0);
    for file in EMPTY {
        assert_eq!(fs::read(dom0.kernel("1", file)).unwrap(), b"", "{file}");
    }
    assert_eq!(fs::metadata(dom0.kernel("1", "vmlinuz")).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::metadata(dom0.kernel("1", "")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(dom0.kernels(), 1);
    dom0.succeeds("1", &["kernel"]);
}

#[test]
fn another_image_is_not_installed() {
    let dom0 = Dom0::new();
    fs::write(dom0.unpack("1").join("vmlinuz"), "another image").unwrap();
    dom0.fails("1", &["create"], "vmlinuz is not the image of this version");
    assert_eq!(dom0.kernels(), 0);
    assert!(!dom0.qube("sys-ravelin").exists());
}

#[test]
fn what_was_copied_is_judged_not_what_it_was_copied_from() {
    let dom0 = Dom0::new();
    dom0.stand_in("cp", "#!/bin/sh\nprintf 'something else' >\"$2\"\n");
    dom0.fails("1", &["kernel"], "vmlinuz is not the image of this version");
    dom0.stand_in("cp", "#!/bin/sh\necho 'cp: No space left on device' >&2\nexit 1\n");
    dom0.fails("1", &["kernel"], "No space left");
    assert_eq!(dom0.kernels(), 0);
}

#[test]
fn it_is_on_the_disk_before_it_has_its_name() {
    let dom0 = Dom0::new();
    dom0.stand_in(
        "sync",
        "#!/bin/sh\n[ ! -e \"$RAVELIN_KERNELS/ravelin-1\" ] || after=' afterwards'\n\
         for file; do echo \"${file##*/}${after-}\" >>\"$QUBES/synced\"; done\n",
    );
    dom0.succeeds("1", &["kernel"]);
    let synced = fs::read_to_string(dom0.place.join("qubes/synced")).unwrap();
    for file in EMPTY.iter().chain(&["vmlinuz", "kernels afterwards"]) {
        assert!(synced.lines().any(|line| line == *file), "{file}: {synced}");
    }
}

#[test]
fn one_that_is_there_is_judged_by_all_its_files() {
    let another = "holds another image than this version's";
    let cases: [(&str, Option<&str>, &str); 6] = [
        ("vmlinuz", Some("another image"), another),
        ("vmlinuz", None, "has no vmlinuz"),
        (EMPTY[0], None, "has no default-kernelopts-common.txt"),
        (EMPTY[1], Some("swiotlb=2048"), "default-kernelopts-nopci.txt is not empty"),
        ("modules.img", Some(""), "modules.img does not belong there"),
        (".hidden", Some(""), ".hidden does not belong there"),
    ];
    for (file, content, why) in cases {
        let dom0 = Dom0::new();
        dom0.succeeds("1", &["kernel"]);
        let path = dom0.kernel("1", file);
        match content {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        dom0.fails("1", &["create"], why);
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), content, "{file}");
        assert!(!dom0.qube("sys-ravelin").exists(), "{file}");
    }
    let dom0 = Dom0::new();
    symlink("nowhere", dom0.kernel("1", "").parent().unwrap().join("ravelin-1")).unwrap();
    dom0.fails("1", &["kernel"], "has no vmlinuz");
}

#[test]
fn a_rule_file_may_be_in_it() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["kernel"]);
    fs::write(dom0.kernel("1", "initramfs"), "[permit]").unwrap();
    dom0.succeeds("1", &["create"]);
}

#[test]
fn the_rpms_folder_does_for_an_image() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["kernel"]);
    fs::remove_file(dom0.unpack("1").join("vmlinuz")).unwrap();
    dom0.succeeds("1", &["create"]);
    fs::remove_dir_all(dom0.kernel("1", "")).unwrap();
    dom0.fails("1", &["kernel"], "there is no image");
}

#[test]
fn where_there_is_no_folder_for_kernels_this_is_no_dom0() {
    let dom0 = Dom0::new();
    fs::remove_dir(dom0.place.join("kernels")).unwrap();
    dom0.fails("1", &["kernel"], "this is no dom0 of Qubes OS");
}
