//! Paths of QubesDB: what they may look like, and which of them mean something to us.

use core::net::Ipv4Addr;

/// The longest path. The daemon cuts a longer one.
pub const MAX_PATH: usize = 63;

/// What stands before the name of a feature that is meant for us.
pub const CONFIG: &str = "/vm-config/ravelin-";

/// What stands before the source of rules.
pub const FIREWALL: &str = "/qubes-firewall/";

/// What stands before the source whose triggers we count.
pub const HANDLED: &str = "/qubes-firewall-handled/";

/// What stands before the address of a client that goes by another one.
pub const MAPPED: &str = "/mapped-ip/";

/// The visible addresses of all qubes that have us as their netvm.
pub const CONNECTED: &str = "/connected-ips";

/// The settings that we read.
pub const SETTINGS: [&str; 10] = [
    CONNECTED,
    "/qubes-gateway",
    "/qubes-ip",
    "/qubes-netmask",
    "/qubes-netvm-gateway",
    "/qubes-netvm-primary-dns",
    "/qubes-netvm-secondary-dns",
    "/qubes-primary-dns",
    "/qubes-random-seed",
    "/qubes-secondary-dns",
];

/// Whether the daemon takes this for a path: 63 characters at most, of those that it allows.
pub fn is_sound(path: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.:@".contains(&byte);
    path.len() <= MAX_PATH && !path.starts_with('-') && path.bytes().all(allowed)
}

/// Whether an entry can have this path.
pub fn is_entry(path: &str) -> bool {
    is_sound(path) && path.starts_with('/') && !path.ends_with('/')
}

/// The longest text of an IPv6 address that is written as dom0 does it.
const MAX_IPV6: usize = 39;

/// Whose rules a trigger is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerSource<'p> {
    /// A client's address.
    Ipv4(Ipv4Addr),
    /// A client's address of the other family, whose packets nobody forwards.
    Ipv6(&'p str),
}

/// What an entry is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning<'p> {
    /// One of [`SETTINGS`].
    Setting,
    /// A feature of ours.
    Config,
    /// What a client with another visible address looks like.
    Mapped,
    /// A rule of a source, or its policy, by its name.
    Rule(Ipv4Addr, &'p str),
    /// The rules of a source are complete.
    Trigger(TriggerSource<'p>),
    /// How many triggers of a source we said to have handled.
    Handled,
    /// Nothing.
    Nothing,
}

/// What the entry at `path` is to us.
pub fn meaning(path: &str) -> Meaning<'_> {
    if SETTINGS.contains(&path) {
        return Meaning::Setting;
    }
    if let Some(rest) = path.strip_prefix(FIREWALL) {
        return match rest.split_once('/') {
            None => trigger_source(rest).map_or(Meaning::Nothing, Meaning::Trigger),
            Some((_, name)) if name.contains('/') => Meaning::Nothing,
            Some((source, name)) => {
                source.parse().map_or(Meaning::Nothing, |source| Meaning::Rule(source, name))
            }
        };
    }
    if path.strip_prefix(HANDLED).and_then(trigger_source).is_some() {
        return Meaning::Handled;
    }
    if path.starts_with(CONFIG) {
        return Meaning::Config;
    }
    if path.starts_with(MAPPED) { Meaning::Mapped } else { Meaning::Nothing }
}

fn trigger_source(text: &str) -> Option<TriggerSource<'_>> {
    if let Ok(address) = text.parse() {
        return Some(TriggerSource::Ipv4(address));
    }
    let allowed = |byte: u8| byte == b':' || byte.is_ascii_hexdigit();
    let is_ipv6 = text.len() <= MAX_IPV6 && text.bytes().all(allowed) && text.matches(':').nth(1).is_some();
    is_ipv6.then_some(TriggerSource::Ipv6(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_a_source_and_nothing_behind_it() {
        let source = Ipv4Addr::new(10, 137, 0, 5);
        for (path, expected) in [
            ("/qubes-firewall/10.137.0.5", Meaning::Trigger(TriggerSource::Ipv4(source))),
            ("/qubes-firewall/fd09::a89:5", Meaning::Trigger(TriggerSource::Ipv6("fd09::a89:5"))),
            ("/qubes-firewall/10.137.0.5/", Meaning::Rule(source, "")),
            ("/qubes-firewall/10.137.0.5/0001", Meaning::Rule(source, "0001")),
            ("/qubes-firewall/10.137.0.5/0001/x", Meaning::Nothing),
            ("/qubes-firewall/10.137.0", Meaning::Nothing),
            ("/qubes-firewall/010.137.0.5", Meaning::Nothing),
            ("/qubes-firewall/", Meaning::Nothing),
            ("/qubes-firewall/fe80:1", Meaning::Nothing),
            ("/qubes-firewall", Meaning::Nothing),
            ("/qubes-firewall-handled/10.137.0.5", Meaning::Handled),
            ("/qubes-ip", Meaning::Setting),
            ("/qubes-ip6", Meaning::Nothing),
            ("/vm-config/ravelin-log", Meaning::Config),
            ("/vm-config/other", Meaning::Nothing),
            ("/mapped-ip/10.137.0.5/visible-ip", Meaning::Mapped),
        ] {
            assert_eq!(meaning(path), expected, "{path}");
        }
    }

    #[test]
    fn an_entry_is_what_the_daemon_takes_for_one() {
        for (path, is) in
            [("/a", true), ("/a:@._-B9", true), ("a", false), ("/a/", false), ("", false), ("/a b", false)]
        {
            assert_eq!(is_entry(path), is, "{path}");
        }
        assert!(is_entry(&"/x".repeat(31)));
        assert!(!is_entry(&"/x".repeat(32)));
    }
}
