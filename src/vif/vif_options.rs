//! The options of a client's vif, as the toolstack wrote them, and which of them have no effect.

use crate::base::text::{Excerpt, decimal};
use crate::guard::antispoof::Identity;
use crate::vif::token_bucket::RateLimit;
use crate::wire::mtu;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Nodes that are read and obeyed, or that mean nothing here: for hotplug scripts, for Linux's backend, or our own.
const KNOWN: [&str; 17] = [
    "frontend",
    "frontend-id",
    "online",
    "state",
    "mac",
    "ip",
    "rate",
    "mtu",
    "type",
    "handle",
    "script",
    "bridge",
    "vifname",
    "hotplug-status",
    "hotplug-error",
    "trusted",
    "backend",
];

/// Nodes whose names begin so are ours.
const OWN: &str = "feature-";

/// Reads an `mtu` node: bytes of the largest IP packet. `None` where it is none.
pub fn parse_mtu(text: &str) -> Option<u16> {
    decimal(text).filter(|bytes| (mtu::LEAST..=mtu::MOST).contains(bytes))
}

/// The nodes of a client's vif that the toolstack chose, as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VifOptions {
    mac: String,
    ip: String,
    rate: Option<String>,
    mtu: Option<String>,
    kind: Option<String>,
}

impl VifOptions {
    /// The keys of what [`Self::new`] takes.
    pub const KEYS: [&str; 5] = ["mac", "ip", "rate", "mtu", "type"];

    /// What those nodes hold; without a `mac` there is no vif.
    pub fn new([mac, ip, rate, mtu, kind]: [Option<String>; 5]) -> Option<Self> {
        Some(Self { mac: mac?, ip: ip.unwrap_or_default(), rate, mtu, kind })
    }

    /// The addresses that the client may use.
    pub fn identity(&self) -> Identity {
        Identity::parse(&self.mac, &self.ip)
    }

    /// How much the client may send (`rate=`). Text that cannot be read means no limit, as in Linux's netback.
    pub fn rate(&self) -> Option<RateLimit> {
        RateLimit::parse(self.rate.as_deref()?).ok()
    }

    /// Bytes of the largest IP packet that goes to the client (`mtu=`), if it was said.
    pub fn mtu(&self) -> Option<u16> {
        parse_mtu(self.mtu.as_deref()?)
    }

    /// Which of these options, and of the vif's other nodes, have no effect, in words. `names` are those of all its
    /// nodes.
    pub fn not_done(&self, names: &[String]) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(rate) = self.rate.as_deref().filter(|_| self.rate().is_none()) {
            all.push(format!("rate {} is no limit: what it sends is not limited", Excerpt::of(rate)));
        }
        if let Some(mtu) = self.mtu.as_deref().filter(|_| self.mtu().is_none()) {
            let (least, most, mtu) = (mtu::LEAST, mtu::MOST, Excerpt::of(mtu));
            all.push(format!("mtu {mtu} is none from {least} to {most}: 1500 is used"));
        }
        if let Some(kind) = self.kind.as_deref().filter(|&kind| !matches!(kind, "vif" | "vif_ioemu")) {
            all.push(format!("type {} is not known: it is served as a vif", Excerpt::of(kind)));
        }
        all.extend(self.identity().not_done());
        let unknown = names.iter().filter(|name| !KNOWN.contains(&name.as_str()) && !name.starts_with(OWN));
        let unknown: Vec<String> = unknown.map(|name| Excerpt::of(name).to_string()).take(8).collect();
        if !unknown.is_empty() {
            all.push(format!("not supported and without effect: {}", unknown.join(", ")));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(ip: &str, rate: Option<&str>, mtu: Option<&str>, kind: Option<&str>) -> VifOptions {
        let text = |word: Option<&str>| word.map(String::from);
        let mac = Some("00:16:3e:01:02:03".into());
        VifOptions::new([mac, text(Some(ip)), text(rate), text(mtu), text(kind)]).unwrap()
    }

    /// What libxl writes for a vif without options.
    fn usual_names() -> Vec<String> {
        let names = ["frontend", "frontend-id", "online", "state", "script", "mac", "ip", "bridge", "handle"];
        names.into_iter().chain(["type", "hotplug-status"]).map(String::from).collect()
    }

    #[test]
    fn v_1_the_mtu_of_a_vif_is_what_the_toolstack_wrote() {
        assert_eq!(words("10.137.0.5", None, Some("1400"), None).mtu(), Some(1400));
        assert_eq!(words("10.137.0.5", None, None, None).mtu(), None);
        for wrong in ["", "67", "65522", "65536", "-1", "1400 "] {
            let words = words("10.137.0.5", None, Some(wrong), None);
            assert_eq!(words.mtu(), None, "{wrong}");
            assert_eq!(words.not_done(&usual_names()).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn v_3_what_is_not_supported_is_told_and_the_usual_is_not() {
        let usual = words("10.137.0.5", Some("250000,50000"), Some("1400"), Some("vif"));
        assert_eq!(usual.not_done(&usual_names()), Vec::<String>::new());
        let odd = words("10.137.0.5 fd00::5", Some("fast"), Some("tiny"), Some("sriov"));
        let names =
            [usual_names(), ["gatewaydev".into(), "feature-sg".into(), "vlan".into()].into()].concat();
        assert_eq!(
            odd.not_done(&names),
            [
                "rate \"fast\" is no limit: what it sends is not limited",
                "mtu \"tiny\" is none from 68 to 65521: 1500 is used",
                "type \"sriov\" is not known: it is served as a vif",
                "ip: IPv6 is not forwarded: fd00::5 is not used",
                "not supported and without effect: \"gatewaydev\", \"vlan\"",
            ]
        );
    }

    #[test]
    fn v_3_addresses_that_cannot_be_read_are_named() {
        let odd = words("10.137.0.5 10.137.0.x", None, None, None);
        assert_eq!(
            odd.not_done(&usual_names()),
            ["ip: \"10.137.0.x\" is no address: none of them is used, and everything it sends is dropped"]
        );
    }

    #[test]
    fn v_5_a_second_address_is_refused_and_told() {
        let two = words("10.137.0.5 10.137.0.6", None, None, None);
        let [told] = &two.not_done(&usual_names())[..] else { panic!("{:?}", two.not_done(&[])) };
        assert!(told.contains("10.137.0.6") && told.contains("one vif"), "{told}");
    }
}
