//! The kernel command line: `ipv4=10.0.0.2/24 gateway=10.0.0.1 dns=10.0.0.1 log=info`.
//!
//! It is what xl.cfg calls `extra=` and Qubes calls `kernelopts`. A mistake never stops the kernel: the option
//! is then not in effect, and what was wrong is returned to be shown on the console. Nothing fails open by
//! that: without address or gateway the uplink stays down, and rules about DNS without a resolver are
//! refused by the rule table.

use super::host_address::{check_gateway, check_host, check_ours};
use super::limits::ClientLimits;
use super::mistake::{CommandLineError, OptionMistake, OptionName};
use super::option_value::{limit, log_level, uplink_pings};
use crate::base::prefix::Ipv4Prefix;
use crate::base::sort::sort_by_key;
use crate::base::text::{Column, Excerpt, Word, words};
use crate::engine::settings::UplinkPings;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::net::Ipv4Addr;
use log::LevelFilter;

/// How many name servers may be configured.
pub const MAX_RESOLVERS: usize = 4;

/// The options in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Our address on the uplink, with the network's prefix length. Without it the uplink stays down.
    pub ipv4: Option<Ipv4Prefix>,
    /// Next hop for everything beyond the uplink's network. Without it the uplink stays down.
    pub gateway: Option<Ipv4Addr>,
    /// The address that clients know us by: it answers their pings and reports errors to them. Ours on the
    /// uplink when it is not given.
    pub client_gateway: Option<Ipv4Addr>,
    /// The name servers that `specialtarget=dns` in a rule stands for; none twice.
    pub dns: ArrayVec<Ipv4Addr, MAX_RESOLVERS>,
    /// What one client may take.
    pub limits: ClientLimits,
    /// Whether our address on the uplink answers pings.
    pub uplink_pings: UplinkPings,
    /// How much is logged to the console.
    pub log: LevelFilter,
    /// A crash to provoke once the kernel is up, for tests.
    pub debug: Option<ForcedCrash>,
    /// What to measure instead of forwarding packets.
    pub measure: Option<Measurement>,
}

impl Default for CommandLine {
    fn default() -> Self {
        Self {
            ipv4: None,
            gateway: None,
            client_gateway: None,
            dns: ArrayVec::new(),
            limits: ClientLimits::default(),
            uplink_pings: UplinkPings::default(),
            log: LevelFilter::Info,
            debug: None,
            measure: None,
        }
    }
}

/// What the kernel can measure about the machine it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measurement {
    /// `measure=copy`: grant copies ([`crate::kernel::measure`]).
    Copy,
}

/// A crash that a test asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForcedCrash {
    /// `debug=panic`: a Rust panic.
    Panic,
    /// `debug=page-fault`: a write to an address that is not mapped.
    PageFault,
    /// `debug=stack-overflow`: a function that calls itself without end.
    StackOverflow,
    /// `debug=write-text`: a write to code.
    WriteText,
    /// `debug=write-page-table`: a write to the top-level page table.
    WritePageTable,
    /// `debug=execute-data`: a jump to data.
    ExecuteData,
    /// `debug=null`: a read at address zero.
    Null,
}

impl CommandLine {
    /// Reads a command line: what is in effect, and everything that is not, in the order written.
    pub fn parse(text: &str) -> (CommandLine, Vec<CommandLineError>) {
        let mut reader = OptionReader::default();
        for word in words(text) {
            reader.word(word);
        }
        reader.judge_gateway();
        sort_by_key(&mut reader.errors, |error| error.column.0 as u64);
        (reader.line, reader.errors)
    }
}

#[derive(Default)]
struct OptionReader {
    line: CommandLine,
    errors: Vec<CommandLineError>,
    seen: Vec<OptionName>,
    gateway_column: Option<Column>,
}

impl OptionReader {
    fn mistake(&mut self, column: Column, mistake: OptionMistake) {
        self.errors.push(CommandLineError { column, mistake });
    }

    fn word(&mut self, word: Word<'_>) {
        let option = word.split_key().and_then(|(key, value)| {
            let name = OptionName::ALL.into_iter().find(|name| name.key() == key.text)?;
            Some((name, value))
        });
        let Some((name, value)) = option else {
            if is_for_linux(word.text) {
                return;
            }
            return self.mistake(word.column, OptionMistake::UnknownOption(Excerpt::of(word.text)));
        };
        if self.seen.contains(&name) {
            return self.mistake(word.column, OptionMistake::Repeated(name));
        }
        self.seen.push(name);
        if let Err(mistake) = self.value(name, value) {
            self.mistake(value.column, mistake);
        }
    }

    fn value(&mut self, name: OptionName, value: Word<'_>) -> Result<(), OptionMistake> {
        let malformed = || OptionMistake::Malformed(name, Excerpt::of(value.text));
        let unusable = |address, why| OptionMistake::Unusable(name, address, why);
        match name {
            OptionName::Ipv4 => self.line.ipv4 = Some(uplink_prefix(value)?),
            OptionName::Gateway => {
                let address = value.text.parse().map_err(|_| malformed())?;
                check_host(address).map_err(|why| unusable(address, why))?;
                self.line.gateway = Some(address);
                self.gateway_column = Some(value.column);
            }
            OptionName::ClientGateway => {
                let address = value.text.parse().map_err(|_| malformed())?;
                check_host(address).map_err(|why| unusable(address, why))?;
                self.line.client_gateway = Some(address);
            }
            OptionName::Dns => self.line.dns = resolvers(value)?,
            OptionName::ClientFlows => {
                self.line.limits.flows = Some(limit(value.text).ok_or_else(malformed)?)
            }
            OptionName::ClientPorts => {
                self.line.limits.ports = Some(limit(value.text).ok_or_else(malformed)?)
            }
            OptionName::ClientNewFlows => {
                self.line.limits.new_flows = Some(limit(value.text).ok_or_else(malformed)?);
            }
            OptionName::UplinkPings => {
                self.line.uplink_pings = uplink_pings(value.text).ok_or_else(malformed)?;
            }
            OptionName::Log => self.line.log = log_level(value.text).ok_or_else(malformed)?,
            OptionName::Debug => {
                self.line.debug = Some(match value.text {
                    "panic" => ForcedCrash::Panic,
                    "page-fault" => ForcedCrash::PageFault,
                    "stack-overflow" => ForcedCrash::StackOverflow,
                    "write-text" => ForcedCrash::WriteText,
                    "write-page-table" => ForcedCrash::WritePageTable,
                    "execute-data" => ForcedCrash::ExecuteData,
                    "null" => ForcedCrash::Null,
                    _ => return Err(malformed()),
                })
            }
            OptionName::Measure => {
                self.line.measure = match value.text {
                    "copy" => Some(Measurement::Copy),
                    _ => return Err(malformed()),
                }
            }
        }
        Ok(())
    }

    /// Checks gateway against address once both are known, in whatever order they were written.
    fn judge_gateway(&mut self) {
        let (Some(prefix), Some(gateway), Some(column)) =
            (self.line.ipv4, self.line.gateway, self.gateway_column)
        else {
            return;
        };
        if let Err(why) = check_gateway(prefix, gateway) {
            self.line.gateway = None;
            self.mistake(column, OptionMistake::Unusable(OptionName::Gateway, gateway, why));
        }
    }
}

/// Whether a word is of those that Qubes passes to Linux kernels where nobody says otherwise (core-admin,
/// `kernelopts_common` and `kernelopts`).
fn is_for_linux(word: &str) -> bool {
    let option = word.split_once('=').map_or(word, |(option, _)| option);
    let module = option.split_once('.').map_or("", |(module, _)| module);
    matches!(option, "root" | "ro" | "nomodeset" | "console" | "rd_NO_PLYMOUTH" | "swiotlb")
        || matches!(module, "rd" | "plymouth" | "xen_privcmd" | "systemd")
}

/// Our address on the uplink and the network it is in.
fn uplink_prefix(value: Word<'_>) -> Result<Ipv4Prefix, OptionMistake> {
    let malformed = || OptionMistake::Malformed(OptionName::Ipv4, Excerpt::of(value.text));
    let written = value.text.contains('/').then(|| value.text.parse::<Ipv4Prefix>().ok());
    let prefix = written.flatten().filter(|prefix| prefix.length() > 0).ok_or_else(malformed)?;
    let address = prefix.address();
    let unusable = |why| OptionMistake::Unusable(OptionName::Ipv4, address, why);
    check_ours(prefix).map_err(unusable)?;
    Ok(prefix)
}

/// Each of the resolvers once.
fn resolvers(value: Word<'_>) -> Result<ArrayVec<Ipv4Addr, MAX_RESOLVERS>, OptionMistake> {
    let malformed = || OptionMistake::Malformed(OptionName::Dns, Excerpt::of(value.text));
    let mut resolvers = ArrayVec::new();
    for item in value.text.split(',') {
        let address = item.parse().map_err(|_| malformed())?;
        check_host(address).map_err(|why| OptionMistake::Unusable(OptionName::Dns, address, why))?;
        if !resolvers.contains(&address) {
            resolvers.try_push(address).map_err(|_| malformed())?;
        }
    }
    Ok(resolvers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::host_address::UnusableAddress;
    use crate::engine::Settings;
    use crate::tables::allowance::Rate;
    use alloc::string::{String, ToString};

    fn accepted(text: &str) -> CommandLine {
        let (line, errors) = CommandLine::parse(text);
        assert_eq!(errors, []);
        line
    }

    fn refused(text: &str) -> (CommandLine, Vec<String>) {
        let (line, errors) = CommandLine::parse(text);
        (line, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn reads_every_option() {
        let line = accepted(
            "ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1 dns=10.139.1.1,10.139.1.2 \
             client-flows=1000 client-ports=200 client-new-flows=30 uplink-pings=ignore log=debug \
             debug=page-fault measure=copy",
        );
        assert_eq!(line.client_gateway, Some(Ipv4Addr::new(10, 137, 0, 1)));
        assert_eq!(line.ipv4.unwrap().to_string(), "10.0.0.2/24");
        assert_eq!(line.gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(line.dns.as_slice(), [Ipv4Addr::new(10, 139, 1, 1), Ipv4Addr::new(10, 139, 1, 2)]);
        assert_eq!(line.uplink_pings, UplinkPings::Ignored);
        assert_eq!(line.log, LevelFilter::Debug);
        assert_eq!(line.debug, Some(ForcedCrash::PageFault));
        assert_eq!(line.measure, Some(Measurement::Copy));
    }

    #[test]
    fn p_4_the_caps_of_a_client_are_settable() {
        let defaults = Settings::for_memory(16 << 20, Ipv4Addr::UNSPECIFIED).quotas;
        assert_eq!(accepted("").limits.of(defaults), defaults);
        let line = accepted("client-flows=1000 client-ports=200 client-new-flows=30");
        let quotas = line.limits.of(defaults);
        assert_eq!((quotas.flows_per_client, quotas.ports_per_client), (1000, 200));
        assert_eq!(quotas.new_flows, Rate { per_second: 30, burst: 120 });
    }

    #[test]
    fn an_empty_line_is_the_default() {
        assert_eq!(accepted(" \t\n"), CommandLine::default());
    }

    #[test]
    fn what_qubes_says_to_linux_is_passed_over_without_a_word() {
        let line = accepted(
            "systemd.machine_id=0123 root=/dev/mapper/dmroot ro nomodeset console=hvc0 rd_NO_PLYMOUTH \
             rd.plymouth.enable=0 plymouth.enable=0 xen_privcmd.unrestricted swiotlb=2048 log=warn",
        );
        assert_eq!(line, CommandLine { log: LevelFilter::Warn, ..CommandLine::default() });
        for word in ["rooted=1", "row", "rdx.a=1", "rd", "systemd", "swiotlbs=1", ".rd=1"] {
            assert_eq!(refused(word).1.len(), 1, "{word}");
        }
    }

    #[test]
    fn an_unknown_option_is_told_with_its_column() {
        let (line, errors) = refused("log=warn foo");
        assert_eq!(line.log, LevelFilter::Warn);
        assert_eq!(
            errors,
            ["command line, column 10: unknown option \"foo\"; \
              expected one of ipv4= gateway= client-gateway= dns= client-flows= client-ports= client-new-flows= \
              uplink-pings= log= debug= measure="]
        );
    }

    #[test]
    fn a_repeated_option_leaves_the_first_in_effect() {
        let (line, errors) = refused("dns=10.0.0.1 dns=10.0.0.9");
        assert_eq!(line.dns.as_slice(), [Ipv4Addr::new(10, 0, 0, 1)]);
        assert_eq!(
            errors,
            ["command line, column 14: dns= for the second time; expected once, the first is in effect"]
        );
    }

    #[test]
    fn malformed_values_are_not_in_effect() {
        for (text, column) in [
            ("ipv4=10.0.0.2", 6),
            ("ipv4=10.0.0.2/33", 6),
            ("ipv4=10.0.0.2/0", 6),
            ("ipv4=10.0.0/8", 6),
            ("ipv4=", 6),
            ("gateway=10.0.0.1/24", 9),
            ("dns=10.0.0.1,", 5),
            ("dns=10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5", 5),
            ("client-flows=0", 14),
            ("client-ports=-1", 14),
            ("client-new-flows=1000001", 18),
            ("uplink-pings=yes", 14),
            ("log=verbose", 5),
            ("debug=yes", 7),
            ("measure=everything", 9),
        ] {
            let (line, errors) = CommandLine::parse(text);
            assert_eq!(line, CommandLine::default(), "{text}");
            assert!(
                matches!(&errors[..], [e] if e.column == Column(column)
                    && matches!(e.mistake, OptionMistake::Malformed(..))),
                "{text}: {errors:?}"
            );
        }
    }

    #[test]
    fn addresses_that_no_host_has_are_refused() {
        for (text, expected) in [
            ("ipv4=10.0.0.0/24", UnusableAddress::Network),
            ("ipv4=10.0.0.255/24", UnusableAddress::Broadcast),
            ("ipv4=127.0.0.1/32", UnusableAddress::Loopback),
            ("ipv4=0.0.0.0/32", UnusableAddress::Unspecified),
            ("ipv4=255.255.255.255/32", UnusableAddress::Reserved),
            ("gateway=224.0.0.1", UnusableAddress::Multicast),
            ("dns=127.0.0.53", UnusableAddress::Loopback),
        ] {
            let (line, errors) = CommandLine::parse(text);
            assert_eq!(line, CommandLine::default(), "{text}");
            let found = errors.first().map(|error| &error.mistake);
            assert!(
                matches!(found, Some(OptionMistake::Unusable(_, _, why)) if *why == expected),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn the_gateway_is_a_neighbour_in_the_network() {
        let gateway = |text| CommandLine::parse(text).0.gateway.is_some();
        assert!(gateway("gateway=10.0.0.1 ipv4=10.0.0.2/24"));
        assert!(!gateway("gateway=10.0.1.1 ipv4=10.0.0.2/24"));
        assert!(!gateway("gateway=10.0.0.2 ipv4=10.0.0.2/24"));
        assert!(!gateway("gateway=10.0.0.255 ipv4=10.0.0.2/24"));
        assert!(gateway("gateway=10.0.0.3 ipv4=10.0.0.2/31"));
        let (_, errors) = refused("gateway=10.0.1.1 ipv4=10.0.0.2/24");
        assert_eq!(
            errors,
            ["command line, column 9: gateway= cannot be 10.0.1.1: it is outside 10.0.0.0/24, \
              the network of our address; expected a host's address"]
        );
    }

    #[test]
    fn a_single_address_reaches_its_gateway_directly_as_in_qubes() {
        let line = accepted("ipv4=10.137.0.9/32 gateway=10.138.2.1");
        assert_eq!(line.gateway, Some(Ipv4Addr::new(10, 138, 2, 1)));
    }

    #[test]
    fn every_mistake_is_told_in_the_order_written() {
        let (_, errors) = CommandLine::parse("gateway=9.9.9.9 x ipv4=10.0.0.2/24 log=loud");
        let columns: Vec<_> = errors.iter().map(|error| error.column.0).collect();
        assert_eq!(columns, [9, 17, 40]);
    }
}
