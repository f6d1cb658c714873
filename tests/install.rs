//! `dist/ravelin-install`, which puts Ravelin into dom0, against stand-ins of the commands it uses (`tests/install/qvm`).
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

const COMMANDS: [&str; 8] = [
    "qvm-ls",
    "qvm-check",
    "qvm-start",
    "qvm-remove",
    "qvm-create",
    "qvm-prefs",
    "qvm-features",
    "qubes-prefs",
];

/// SHA-256 of `image of VERSION`.
fn image(version: &str) -> (String, String) {
    let text = format!("image of {version}");
    let hash =
        Command::new("sh").args(["-c", r#"printf %s "$1" | sha256sum | cut -c 1-64"#, "sh", &text]).output();
    let hash = String::from_utf8(hash.expect("sha256sum runs").stdout).expect("digits");
    (text, hash.trim().to_owned())
}

/// A dom0 of its own, with sys-net, sys-firewall and two qubes behind that.
struct Dom0(PathBuf);

impl Dom0 {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let place = format!("install-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dom0 = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(place));
        let bin = dom0.0.join("bin");
        fs::create_dir_all(&bin).unwrap();
        for command in COMMANDS {
            symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/install/qvm"), bin.join(command)).unwrap();
        }
        for directory in ["kernels", "qubes/dom0/prefs"] {
            fs::create_dir_all(dom0.0.join(directory)).unwrap();
        }
        fs::write(dom0.0.join("qubes/default_netvm"), "sys-firewall").unwrap();
        for (name, netvm) in [
            ("sys-net", Some("")),
            ("sys-firewall", Some("sys-net")),
            ("work", None),
            ("vault", Some("sys-firewall")),
        ] {
            dom0.add(name, netvm);
        }
        for name in ["sys-net", "sys-firewall"] {
            dom0.write(name, "prefs/provides_network", "True");
            dom0.write(name, "running", "");
        }
        dom0
    }

    fn add(&self, qube: &str, netvm: Option<&str>) {
        for part in ["prefs", "features"] {
            fs::create_dir_all(self.0.join("qubes").join(qube).join(part)).unwrap();
        }
        if let Some(netvm) = netvm {
            self.write(qube, "prefs/netvm", netvm);
        }
    }

    fn write(&self, qube: &str, what: &str, value: &str) {
        fs::write(self.0.join("qubes").join(qube).join(what), value).unwrap();
    }

    /// A property, a feature; `None` for the default.
    fn read(&self, qube: &str, what: &str) -> Option<String> {
        fs::read_to_string(self.0.join("qubes").join(qube).join(what)).ok()
    }

    fn kernel(&self, version: &str, file: &str) -> PathBuf {
        self.0.join("kernels").join(format!("ravelin-{version}")).join(file)
    }

    /// Unpacks a version and runs its script.
    fn run(&self, version: &str, arguments: &[&str]) -> Output {
        let (text, hash) = image(version);
        let folder = self.0.join(format!("unpacked-{version}"));
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("vmlinuz"), text).unwrap();
            let script = include_str!("../dist/ravelin-install");
            let script = script.replace("@VERSION@", version).replace("@SHA256@", &hash);
            fs::write(folder.join("ravelin-install"), script).unwrap();
            fs::set_permissions(folder.join("ravelin-install"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.shell(&folder.join("ravelin-install"), arguments)
    }

    /// Runs a script where these commands are.
    fn shell(&self, script: &Path, arguments: &[&str]) -> Output {
        let path = format!("{}:{}", self.0.join("bin").display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .arg(script)
            .args(arguments)
            .env("PATH", path)
            .env("QUBES", self.0.join("qubes"))
            .env("RAVELIN_KERNELS", self.0.join("kernels"))
            .output()
            .unwrap()
    }

    #[track_caller]
    fn succeeds(&self, version: &str, arguments: &[&str]) -> String {
        let output = self.run(version, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, version: &str, arguments: &[&str], why: &str) {
        let output = self.run(version, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
    }
}

impl Drop for Dom0 {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

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
fn a_kernel_folder_has_the_image_and_two_empty_files_that_everybody_may_read() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["kernel"]);
    assert_eq!(fs::read_to_string(dom0.kernel("1", "vmlinuz")).unwrap(), image("1").0);
    for file in ["default-kernelopts-common.txt", "default-kernelopts-nopci.txt"] {
        assert_eq!(fs::read(dom0.kernel("1", file)).unwrap(), b"", "{file}");
    }
    assert_eq!(fs::metadata(dom0.kernel("1", "vmlinuz")).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::metadata(dom0.kernel("1", "")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(dom0.0.join("kernels")).unwrap().count(), 1);
    dom0.succeeds("1", &["kernel"]);
}

#[test]
fn another_image_is_not_installed() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["help"]);
    fs::write(dom0.0.join("unpacked-1/vmlinuz"), "another image").unwrap();
    dom0.fails("1", &["create"], "vmlinuz is not the image of this version");
    assert_eq!(fs::read_dir(dom0.0.join("kernels")).unwrap().count(), 0);
    assert_eq!(dom0.read("sys-ravelin", "prefs/kernel"), None);
}

#[test]
fn a_folder_of_another_image_is_left_alone() {
    let dom0 = Dom0::new();
    fs::create_dir_all(dom0.kernel("1", "")).unwrap();
    fs::write(dom0.kernel("1", "vmlinuz"), "another image").unwrap();
    dom0.fails("1", &["kernel"], "holds another image than this version's");
    assert_eq!(fs::read_to_string(dom0.kernel("1", "vmlinuz")).unwrap(), "another image");
}

#[test]
fn the_rpms_folder_does_for_an_image() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["kernel"]);
    fs::remove_file(dom0.0.join("unpacked-1/vmlinuz")).unwrap();
    dom0.succeeds("1", &["create"]);
    fs::remove_dir_all(dom0.kernel("1", "")).unwrap();
    dom0.fails("1", &["kernel"], "there is no image");
}

#[test]
fn a_qube_that_cannot_be_made_is_not_left_half_made() {
    let dom0 = Dom0::new();
    dom0.fails("1", &["create", "--netvm=work"], "could not be created");
    assert!(!dom0.0.join("qubes/sys-ravelin").exists());
    dom0.fails("1", &["create", "--netvm=nowhere"], "there is no qube nowhere");
}

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
fn clients_are_taken_and_return_to_what_they_had() {
    let dom0 = Dom0::new();
    dom0.add("other", Some("sys-net"));
    dom0.write("work", "running", "");
    dom0.succeeds("1", &["create"]);
    dom0.succeeds("1", &["take-clients", "--without-rules", "sys-firewall"]);
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
    dom0.fails("1", &["take-clients", "--without-rules", "sys-net"], "not moved: sys-firewall");
    assert_eq!(dom0.read("sys-firewall", "prefs/netvm").as_deref(), Some("sys-net"));
    assert_eq!(dom0.read("sys-firewall", "features/ravelin-former-netvm"), None);
    dom0.succeeds("1", &["take-clients", "--without-rules", "sys-firewall"]);
    assert_eq!(dom0.read("sys-ravelin", "prefs/netvm").as_deref(), Some("sys-firewall"));
}

#[test]
fn the_rpm_of_a_version_that_a_qube_starts_with_is_not_removed() {
    let dom0 = Dom0::new();
    let script = dom0.0.join("rpm-before-removal");
    fs::write(&script, include_str!("../dist/rpm-before-removal").replace("@VERSION@", "1")).unwrap();
    assert!(dom0.shell(&script, &[]).status.success());
    dom0.succeeds("1", &["create"]);
    let refused = dom0.shell(&script, &[]);
    assert!(
        !refused.status.success() && String::from_utf8_lossy(&refused.stderr).ends_with("\nsys-ravelin\n")
    );
    dom0.succeeds("2", &["upgrade"]);
    assert!(dom0.shell(&script, &[]).status.success());
}

#[test]
fn clients_lose_no_rules_without_being_told() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    dom0.fails(
        "1",
        &["take-clients", "sys-firewall"],
        "rules of qvm-firewall do not hold behind Ravelin yet",
    );
    assert_eq!(dom0.read("work", "prefs/netvm"), None);
    // Nor all of them, with the rule file of the version before.
    fs::write(dom0.kernel("1", "initramfs"), "[permit]").unwrap();
    dom0.fails("2", &["upgrade"], "has a rule file");
    assert_eq!(dom0.read("sys-ravelin", "prefs/kernel").as_deref(), Some("ravelin-1"));
    fs::write(dom0.kernel("2", "initramfs"), "[permit]").unwrap();
    dom0.succeeds("2", &["upgrade"]);
    fs::remove_file(dom0.kernel("1", "initramfs")).unwrap();
    dom0.fails("2", &["roll-back"], "has a rule file");
}

#[test]
fn commands_of_dom0_that_fail_are_not_taken_for_an_empty_answer() {
    let dom0 = Dom0::new();
    dom0.succeeds("1", &["create"]);
    let script = dom0.0.join("rpm-before-removal");
    fs::write(&script, include_str!("../dist/rpm-before-removal").replace("@VERSION@", "1")).unwrap();
    let list = dom0.0.join("bin/qvm-ls");
    fs::remove_file(&list).unwrap();
    fs::write(&list, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&list, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!dom0.shell(&script, &[]).status.success());
    dom0.fails("1", &["take-clients", "--without-rules", "sys-firewall"], "qvm-ls does not work");
    dom0.fails("1", &["return-clients"], "qvm-ls does not work");
}

#[test]
fn what_is_not_understood_changes_nothing() {
    let dom0 = Dom0::new();
    for arguments in [&["create", "--hvm"][..], &["creat"], &["create", "a", "b"], &["take-clients"], &[]] {
        assert!(!dom0.run("1", arguments).status.success(), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(dom0.0.join("kernels")).unwrap().count(), 0);
}
