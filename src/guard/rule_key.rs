//! The keys of a rule, and what each takes.

/// A key of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKey {
    /// `action=`
    Action,
    /// `dst4=`
    Dst4,
    /// `dst6=`
    Dst6,
    /// `dsthost=`
    DstHost,
    /// `proto=`
    Proto,
    /// `specialtarget=`
    SpecialTarget,
    /// `dstports=`
    DstPorts,
    /// `icmptype=`
    IcmpType,
    /// `expire=`
    Expire,
    /// `comment=`
    Comment,
}

impl RuleKey {
    /// How many there are.
    pub const COUNT: usize = 10;

    const ALL: [RuleKey; Self::COUNT] = [
        Self::Action,
        Self::Dst4,
        Self::Dst6,
        Self::DstHost,
        Self::Proto,
        Self::SpecialTarget,
        Self::DstPorts,
        Self::IcmpType,
        Self::Expire,
        Self::Comment,
    ];

    /// The key that is written so.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.text() == text)
    }

    /// What is written before the `=`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Dst4 => "dst4",
            Self::Dst6 => "dst6",
            Self::DstHost => "dsthost",
            Self::Proto => "proto",
            Self::SpecialTarget => "specialtarget",
            Self::DstPorts => "dstports",
            Self::IcmpType => "icmptype",
            Self::Expire => "expire",
            Self::Comment => "comment",
        }
    }

    /// What is written after the `=`.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Action => "accept or drop",
            Self::Dst4 => "an IPv4 address or network, as 10.0.0.0/8",
            Self::Dst6 => "an IPv6 address or network, as fd09::/16",
            Self::DstHost => "a host name of a-z, 0-9, -, . and _",
            Self::Proto => "tcp, udp or icmp",
            Self::SpecialTarget => "dns",
            Self::DstPorts => "ports as 80-90 or 80, from 0 to 65535",
            Self::IcmpType => "a number from 0 to 255",
            Self::Expire => "seconds since 1970",
            Self::Comment => "any text",
        }
    }
}
