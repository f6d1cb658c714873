//! A dom0 for the scripts: qubes, a folder of kernels, and stand-ins of the commands (`tests/install/qvm`).

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

/// Shells that `/bin/sh` may be: Debian's, and dom0's.
pub const SHELLS: [&[&str]; 2] = [&["sh"], &["bash", "--posix"]];

/// A file of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A new directory of that kind, for one test.
pub fn directory(kind: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{kind}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// An executable script.
pub fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// `image of VERSION` and its SHA-256.
pub fn image(version: &str) -> (String, String) {
    let text = format!("image of {version}");
    let hash =
        Command::new("sh").args(["-c", r#"printf %s "$1" | sha256sum | cut -c 1-64"#, "sh", &text]).output();
    let hash = String::from_utf8(hash.expect("sha256sum runs").stdout).expect("digits");
    (text, hash.trim().to_owned())
}

/// A dom0 of its own, with sys-net, sys-firewall and two qubes behind that.
pub struct Dom0 {
    pub place: PathBuf,
    shell: &'static [&'static str],
}

impl Dom0 {
    pub fn new() -> Self {
        Self::with_shell(SHELLS[0])
    }

    pub fn with_shell(shell: &'static [&'static str]) -> Self {
        let dom0 = Self { place: directory("install"), shell };
        for directory in ["bin", "kernels", "qubes/dom0/prefs"] {
            fs::create_dir_all(dom0.place.join(directory)).unwrap();
        }
        for command in COMMANDS {
            symlink(project("tests/install/qvm"), dom0.place.join("bin").join(command)).unwrap();
        }
        dom0.default_netvm("sys-firewall");
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

    pub fn default_netvm(&self, name: &str) {
        fs::write(self.place.join("qubes/default_netvm"), name).unwrap();
    }

    pub fn add(&self, qube: &str, netvm: Option<&str>) {
        for part in ["prefs", "features"] {
            fs::create_dir_all(self.qube(qube).join(part)).unwrap();
        }
        if let Some(netvm) = netvm {
            self.write(qube, "prefs/netvm", netvm);
        }
    }

    pub fn qube(&self, qube: &str) -> PathBuf {
        self.place.join("qubes").join(qube)
    }

    pub fn write(&self, qube: &str, what: &str, value: &str) {
        fs::write(self.qube(qube).join(what), value).unwrap();
    }

    /// A property, a feature; `None` for the default.
    pub fn read(&self, qube: &str, what: &str) -> Option<String> {
        fs::read_to_string(self.qube(qube).join(what)).ok()
    }

    pub fn kernel(&self, version: &str, file: &str) -> PathBuf {
        self.place.join("kernels").join(format!("ravelin-{version}")).join(file)
    }

    /// The folders of kernels, hidden ones, too.
    pub fn kernels(&self) -> usize {
        fs::read_dir(self.place.join("kernels")).unwrap().count()
    }

    /// Commands of these patterns fail from now on.
    pub fn fails_at(&self, patterns: &str) {
        fs::write(self.place.join("qubes/fails"), format!("{patterns}\n")).unwrap();
    }

    /// The first command of that pattern, and the script, get that signal.
    pub fn signal_at(&self, signal: &str, pattern: &str) {
        fs::write(self.place.join("qubes/signal"), format!("{signal} {pattern}\n")).unwrap();
    }

    /// A command of this name goes before the system's.
    pub fn stand_in(&self, command: &str, text: &str) {
        let path = self.place.join("bin").join(command);
        let _ = fs::remove_file(&path);
        script(&path, text);
    }

    /// Unpacks a version: where it lies.
    pub fn unpack(&self, version: &str) -> PathBuf {
        let (text, hash) = image(version);
        let folder = self.place.join(format!("unpacked-{version}"));
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("vmlinuz"), text).unwrap();
            let text = include_str!("../../dist/ravelin-install");
            script(
                &folder.join("ravelin-install"),
                &text.replace("@VERSION@", version).replace("@SHA256@", &hash),
            );
        }
        folder
    }

    /// Unpacks a version and runs its script.
    pub fn run(&self, version: &str, arguments: &[&str]) -> Output {
        self.shell(&self.unpack(version).join("ravelin-install"), arguments)
    }

    /// Runs a script where these commands are.
    pub fn shell(&self, script: &Path, arguments: &[&str]) -> Output {
        let path = format!("{}:{}", self.place.join("bin").display(), std::env::var("PATH").unwrap());
        // A shell cannot trap a signal that it was started to ignore, as whoever runs the tests in the background is.
        Command::new("env")
            .arg("--default-signal=HUP,INT,TERM")
            .args(self.shell)
            .arg(script)
            .args(arguments)
            .env("PATH", path)
            .env("QUBES", self.place.join("qubes"))
            .env("RAVELIN_KERNELS", self.place.join("kernels"))
            .output()
            .unwrap()
    }

    #[track_caller]
    pub fn succeeds(&self, version: &str, arguments: &[&str]) -> String {
        let output = self.run(version, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns what it says.
    #[track_caller]
    pub fn fails(&self, version: &str, arguments: &[&str], why: &str) -> String {
        let output = self.run(version, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
        said
    }

    /// The script that is run before the RPM of a version is removed.
    pub fn before_removal(&self, version: &str) -> Output {
        let path = self.place.join("rpm-before-removal");
        let text = include_str!("../../dist/rpm-before-removal").replace("@VERSION@", version);
        fs::write(&path, text).unwrap();
        self.shell(&path, &["0"])
    }
}

impl Drop for Dom0 {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.place);
    }
}
