//! `tools/commit`, `tools/remap-paths` and `tools/reproduce`: what an image depends on, and what not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::dom0::{directory, project, script};

fn git(place: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(place)
        .output()
        .unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn commit(place: &Path, what: &str, environment: &[(&str, &str)]) -> Output {
    Command::new(project("tools/commit"))
        .arg(what)
        .current_dir(place)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn a_clone_that_is_somebody_elses_names_its_commit() {
    let place = directory("commit");
    git(&place, &["init", "-q"]);
    git(&place, &["commit", "-q", "--allow-empty", "-m", "first"]);
    let ours = commit(&place, "name", &[]);
    // What git's own tests pretend with.
    let theirs = commit(&place, "name", &[("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")]);
    assert_eq!(ours.stdout.len(), 13);
    assert_eq!((ours.stdout, String::from_utf8_lossy(&theirs.stderr)), (theirs.stdout, "".into()));
    let date = commit(&place, "date", &[("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")]).stdout;
    assert!(String::from_utf8(date).unwrap().trim().parse::<u64>().unwrap() > 1_700_000_000);
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_repository_that_git_cannot_read_is_said() {
    let place = directory("commit");
    // There is no repository, and nothing to be said.
    let nothing = commit(&place, "name", &[("GIT_CEILING_DIRECTORIES", "/")]);
    assert!(nothing.status.success() && nothing.stdout.is_empty() && nothing.stderr.is_empty());
    git(&place, &["init", "-q"]);
    let empty = commit(&place, "name", &[]);
    let said = String::from_utf8_lossy(&empty.stderr);
    assert!(said.contains("git does not say of which commit"), "{said}");
    fs::remove_dir_all(place).unwrap();
}

/// A directory with a stand-in of rustc, which has its home there.
fn rust(place: &Path) -> PathBuf {
    let bin = place.join("bin");
    for directory in ["bin", "rust/bin", "rust/lib"] {
        fs::create_dir_all(place.join(directory)).unwrap();
    }
    let text =
        "#!/bin/sh\n[ \"$1\" = -vV ] && echo 'commit-hash: abc' || printf '%s\\n' \"${0%/bin/rustc}/rust\"\n";
    script(&bin.join("rustc"), text);
    bin
}

fn path(bin: &Path) -> String {
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn paths_may_have_any_characters_in_them() {
    let place = directory("remap");
    let odd = place.join(r#"it's "here" = \now ünd"#);
    let crates = odd.join("crates/registry/src/index-1");
    fs::create_dir_all(&crates).unwrap();
    let bin = rust(&odd);
    let done = Command::new(project("tools/remap-paths"))
        .arg("x86_64-unknown-none")
        .current_dir(&odd)
        .env("CARGO_HOME", odd.join("crates"))
        .env("PATH", path(&bin))
        .output()
        .unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    let settings = place.join("paths.toml");
    fs::write(&settings, &text).unwrap();
    let escaped = |path: &Path| path.display().to_string().replace('\\', r"\\").replace('"', "\\\"");
    for remap in [
        format!("{}/=", escaped(&odd)),
        format!("{}/=", escaped(&crates)),
        format!("{}/rust/lib/rustlib/src/rust/=/rustc/abc/", escaped(&odd)),
    ] {
        assert!(text.contains(&format!("    \"--remap-path-prefix={remap}\",\n")), "{remap}: {text}");
    }
    // cargo reads it.
    let cargo = Command::new(env!("CARGO"))
        .args(["--offline", "--config"])
        .arg(&settings)
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn no_settings_are_written_where_rustc_does_not_answer() {
    let place = directory("remap");
    let bin = rust(&place);
    script(&bin.join("rustc"), "#!/bin/sh\nexit 1\n");
    let done = Command::new(project("tools/remap-paths")).arg("x").env("PATH", path(&bin)).output().unwrap();
    assert!(!done.status.success() && done.stdout.is_empty());
    fs::remove_dir_all(place).unwrap();
}

/// What `tools/reproduce` is run in: a tree of sources, crates of a mirror, and a stand-in of make, which makes an image.
struct Builders {
    place: PathBuf,
}

impl Builders {
    /// `$USER` and `$image` are known to the stand-in.
    fn new(make: &str) -> Self {
        let place = directory("reproduce");
        let bin = rust(&place);
        for directory in ["sources", "crates/registry/index", "crates/registry/cache", "work"] {
            fs::create_dir_all(place.join(directory)).unwrap();
        }
        fs::write(place.join("crates/config.toml"), "[source.crates-io]\nreplace-with = \"mirror\"\n")
            .unwrap();
        fs::write(place.join("sources/image"), "an image").unwrap();
        let text = format!(
            "#!/bin/sh\nmkdir -p \"$3/build\"\nimage=$3/build/vmlinuz place={}\n{make}\n",
            place.display()
        );
        script(&bin.join("make"), &text);
        Self { place }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(project("tools/reproduce"));
        command
            .args(["image", "c0ffee"])
            .current_dir(self.place.join("sources"))
            .env("CARGO_HOME", self.place.join("crates"))
            .env("TMPDIR", self.place.join("work"))
            .env("PATH", path(&self.place.join("bin")));
        command
    }

    /// Nothing is left of the builds: no directory, no process.
    #[track_caller]
    fn assert_nothing_left(&self) {
        assert_eq!(fs::read_dir(self.place.join("work")).unwrap().count(), 0);
        if let Ok(process) = fs::read_to_string(self.place.join("alice")) {
            assert!(!Path::new("/proc").join(process.trim()).exists(), "alice goes on");
        }
    }
}

impl Drop for Builders {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.place);
    }
}

/// Alice builds for ten minutes; her process is noted.
const ALICE_IS_SLOW: &str = "if [ $USER = alice ]; then echo $$ >$place/alice; sleep 600 & wait; fi";

#[test]
fn two_builds_are_compared_and_know_the_mirror_and_the_commit() {
    let builders = Builders::new(
        "grep -q mirror $CARGO_HOME/config.toml && [ $RAVELIN_COMMIT = c0ffee ] && printf 'an image' >$image",
    );
    let done = builders.command().output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.ends_with("by whomever it is built\n"), "{done:?}");
    builders.assert_nothing_left();
}

#[test]
fn a_build_that_differs_is_an_error() {
    for user in ["alice", "bob"] {
        let builders =
            Builders::new(&format!("[ $USER = {user} ] && echo 1 >$image || printf 'an image' >$image"));
        let done = builders.command().output().unwrap();
        assert!(
            !done.status.success() && String::from_utf8_lossy(&done.stdout).contains("differ"),
            "{done:?}"
        );
        builders.assert_nothing_left();
    }
}

#[test]
fn a_build_that_fails_says_why_and_ends_the_other() {
    let builders = Builders::new(&format!(
        "{ALICE_IS_SLOW}; while [ ! -e $place/alice ]; do sleep 0.1; done; echo no crates; exit 1"
    ));
    let began = Instant::now();
    let done = builders.command().output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && said == "bob could not build the image:\nno crates\n", "{said}");
    assert!(began.elapsed() < Duration::from_secs(300), "it waits for alice");
    builders.assert_nothing_left();
}

#[test]
fn an_interruption_ends_both_builds() {
    let builders = Builders::new(&format!("{ALICE_IS_SLOW}; sleep 600"));
    let mut running = builders.command().spawn().unwrap();
    let began = Instant::now();
    while fs::read_to_string(builders.place.join("alice")).unwrap_or_default().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(300), "alice does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-s", "TERM", &running.id().to_string()]).status().unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(143));
    assert!(began.elapsed() < Duration::from_secs(300), "it waits for a build");
    builders.assert_nothing_left();
}
