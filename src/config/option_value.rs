//! The values of options that can be set at boot and later: each is read here and nowhere else.

use crate::base::text::decimal;
use crate::engine::settings::UplinkPings;
use log::LevelFilter;

/// A limit of something: none of it at all is for the rules to say.
pub fn limit(text: &str) -> Option<u32> {
    decimal(text).filter(|limit| (1..=1_000_000).contains(limit))
}

/// How much is said on the console.
pub fn log_level(text: &str) -> Option<LevelFilter> {
    Some(match text {
        "error" => LevelFilter::Error,
        "warn" => LevelFilter::Warn,
        "info" => LevelFilter::Info,
        "debug" => LevelFilter::Debug,
        _ => return None,
    })
}

/// Whether our address on the uplink answers pings.
pub fn uplink_pings(text: &str) -> Option<UplinkPings> {
    match text {
        "answer" => Some(UplinkPings::Answered),
        "ignore" => Some(UplinkPings::Ignored),
        _ => None,
    }
}
