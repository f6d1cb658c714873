//! A signal in the midst of anything: what was begun is complete or gone, and it is said which.

use crate::dom0::{Dom0, SHELLS};

/// The script's end, and its kernels and qubes then, when the first command of that pattern gets a signal.
#[track_caller]
fn interrupted(dom0: &Dom0, signal: &str, pattern: &str, version: &str, arguments: &[&str]) -> String {
    dom0.signal_at(signal, pattern);
    let output = dom0.run(version, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!dom0.place.join("qubes/signal").exists(), "there was no {pattern}");
    let status = match signal {
        "HUP" => 129,
        "INT" => 130,
        _ => 143,
    };
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

#[test]
fn a_qube_is_whole_or_not_there() {
    let patterns = [
        "qvm-create*",
        "qvm-features * skip-update 1",
        "qvm-features * gui*",
        "qvm-features * qubes-firewall 1",
    ];
    for shell in SHELLS {
        for (pattern, signal) in patterns.into_iter().zip(["INT", "TERM", "INT", "HUP"]) {
            let dom0 = Dom0::with_shell(shell);
            let said = interrupted(&dom0, signal, pattern, "1", &["create"]);
            assert!(said.contains("sys-ravelin was not complete: it is removed again"), "{said}");
            assert!(!dom0.qube("sys-ravelin").exists(), "{shell:?} {signal} {pattern}");
        }
    }
}

#[test]
fn after_an_interruption_it_can_be_created_again() {
    let dom0 = Dom0::new();
    interrupted(&dom0, "INT", "qvm-create*", "1", &["create"]);
    // The kernel's folder was whole, and stayed.
    assert!(dom0.succeeds("1", &["create"]).contains("ravelin-1 is in place"));
}

#[test]
fn somebody_elses_qube_is_not_removed() {
    for shell in SHELLS {
        let dom0 = Dom0::with_shell(shell);
        // It comes to be between the look and the creation, which fails and is interrupted.
        dom0.stand_in(
            "qvm-check",
            "#!/bin/sh\n[ \"$2\" != sys-ravelin ] || [ -e \"$QUBES/asked\" ] || { : >\"$QUBES/asked\"; exit 1; }\n",
        );
        dom0.add("sys-ravelin", None);
        interrupted(&dom0, "INT", "qvm-create*", "1", &["create"]);
        assert!(dom0.qube("sys-ravelin").exists(), "{shell:?}");
    }
}

#[test]
fn a_kernel_folder_is_whole_or_not_there() {
    for shell in SHELLS {
        for command in ["cp", "sync", "mv"] {
            let dom0 = Dom0::with_shell(shell);
            dom0.stand_in(command, "#!/bin/sh\nkill -s INT $$ $PPID\n");
            let output = dom0.run("1", &["kernel"]);
            assert_eq!(output.status.code(), Some(130), "{shell:?} {command}");
            assert_eq!(dom0.kernels(), 0, "{shell:?} {command}");
        }
    }
}

#[test]
fn a_qube_starts_with_what_it_had_or_it_is_noted_what_it_had() {
    for shell in SHELLS {
        for pattern in ["qvm-prefs * kernel ravelin-2", "qvm-features * ravelin-former-kernel *"] {
            let dom0 = Dom0::with_shell(shell);
            dom0.succeeds("1", &["create"]);
            let said = interrupted(&dom0, "TERM", pattern, "2", &["upgrade"]);
            assert!(said.contains("sys-ravelin starts with ravelin-1 as before"), "{said}");
            assert_eq!(dom0.read("sys-ravelin", "prefs/kernel").as_deref(), Some("ravelin-1"), "{pattern}");
        }
    }
}

#[test]
fn a_client_is_noted_as_long_as_it_is_behind_the_firewall() {
    for shell in SHELLS {
        for (pattern, netvm, noted) in [
            ("qvm-features work ravelin-former-netvm *", None, None),
            ("qvm-prefs work netvm sys-ravelin", Some("sys-ravelin"), Some("default")),
        ] {
            let dom0 = Dom0::with_shell(shell);
            dom0.succeeds("1", &["create"]);
            interrupted(&dom0, "INT", pattern, "1", &["take-clients", "sys-firewall"]);
            let state =
                || [dom0.read("work", "prefs/netvm"), dom0.read("work", "features/ravelin-former-netvm")];
            assert_eq!(state(), [netvm.map(String::from), noted.map(String::from)], "{shell:?} {pattern}");
            dom0.succeeds("1", &["return-clients"]);
            assert_eq!(state(), [None, None], "{shell:?} {pattern}");
        }
        let dom0 = Dom0::with_shell(shell);
        dom0.succeeds("1", &["create"]);
        dom0.succeeds("1", &["take-clients", "sys-firewall"]);
        interrupted(&dom0, "INT", "qvm-prefs --default work netvm", "1", &["return-clients"]);
        assert_eq!(dom0.read("work", "features/ravelin-former-netvm"), None);
    }
}
