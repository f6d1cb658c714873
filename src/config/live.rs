//! The one home of what can change while packets pass: our addresses, resolvers, rules, limits, the log level.
//!
//! Whatever else needs one of these asks here, or is told by a [`Change`]. A setter that changes what is in effect puts
//! the change into the queue; one that does not, does not. What the command line may not say no setter may either: it is
//! refused, and what was in effect stays. Only the device's address is kept as it was said, since what it goes with may
//! come later: while it cannot be ours, the configured one is in effect.

use crate::base::prefix::Ipv4Prefix;
use crate::config::change::{Change, ChangeQueue};
use crate::config::command_line::{CommandLine, MAX_RESOLVERS};
use crate::config::host_address::{AddressRole, RefusedAddress, check_device, check_host, check_ours};
use crate::config::limits::ClientLimits;
use crate::config::mistake::OptionMistake;
use crate::config::qube_rules::{QubeRules, SectionsOf};
use crate::config::rule_config::{RuleConfig, RulesReport};
use crate::config::setting::{Setting, Source};
use crate::config::uplink_route::UplinkRoute;
use crate::engine::Settings;
use crate::engine::seed::Seed;
use crate::engine::settings::UplinkPings;
use crate::guard::RuleTable;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::net::Ipv4Addr;
use log::LevelFilter;

mod qube;

/// Name servers, none twice.
pub type Resolvers = ArrayVec<Ipv4Addr, MAX_RESOLVERS>;

/// What is in effect, and who said so.
#[derive(Debug)]
pub struct Live {
    address: Setting<Ipv4Prefix>,
    /// The address that the toolstack gave our network device, without a prefix length.
    device_address: Option<Ipv4Addr>,
    gateway: Setting<Ipv4Addr>,
    client_gateway: Setting<Ipv4Addr>,
    resolvers: Setting<Resolvers>,
    rules: Setting<RuleConfig>,
    limits: Setting<ClientLimits>,
    uplink_pings: Setting<UplinkPings>,
    log_level: Setting<LevelFilter>,
    /// Whose sections count.
    sections: SectionsOf,
    /// What QubesDB says of rules.
    qube_rules: QubeRules,
    /// The random bytes that were taken in last.
    seed: Option<Seed>,
    /// What setters refused last, by the role of what was to be set.
    refused: [Option<RefusedAddress>; AddressRole::COUNT],
    /// Options with values that cannot be read.
    refused_options: Vec<OptionMistake>,
    /// What nothing is said of.
    defaults: Settings,
}

impl Live {
    /// What a domain of `memory_bytes` was created with.
    pub fn boot(options: &CommandLine, rules: RuleConfig, memory_bytes: u64) -> Self {
        Self {
            address: Setting::of_boot(options.ipv4),
            device_address: None,
            gateway: Setting::of_boot(options.gateway),
            client_gateway: Setting::of_boot(options.client_gateway),
            resolvers: Setting::of_boot(Some(options.dns.clone())),
            rules: Setting::of_boot(Some(rules)),
            limits: Setting::of_boot(Some(options.limits)),
            uplink_pings: Setting::of_boot(Some(options.uplink_pings)),
            log_level: Setting::of_boot(Some(options.log)),
            sections: SectionsOf::File,
            qube_rules: QubeRules::in_domain(memory_bytes),
            seed: None,
            refused: [None; AddressRole::COUNT],
            refused_options: Vec::new(),
            defaults: Settings::for_memory(memory_bytes, Ipv4Addr::UNSPECIFIED),
        }
    }

    /// What a qube of `memory_bytes` was created with: only the sections of QubesDB count, and there is memory for what it
    /// says.
    pub fn boot_qube(options: &CommandLine, rules: RuleConfig, memory_bytes: u64) -> Self {
        let beside = memory_bytes.saturating_sub(Settings::qubesdb_bytes(memory_bytes));
        Self {
            sections: SectionsOf::QubesDb,
            qube_rules: QubeRules::in_domain(memory_bytes),
            ..Self::boot(options, rules, beside)
        }
    }

    /// Our address on the uplink with its network, and who set it. An address of the toolstack's for the device goes
    /// before a configured one, with the prefix length that [`check_device`] gives it, but not before that of QubesDB; alone
    /// it is not enough.
    pub fn address(&self) -> Option<(Ipv4Prefix, Source)> {
        let (&configured, source) = self.address.get()?;
        let given = self.check_device().and_then(Result::ok);
        Some(given.map_or((configured, source), |given| (given, Source::Toolstack)))
    }

    /// What the device's address comes to beside what is configured, if there are both.
    fn check_device(&self) -> Option<Result<Ipv4Prefix, RefusedAddress>> {
        let (device, (&configured, source)) = self.device_address.zip(self.address.get())?;
        if source == Source::QubesDb {
            return None;
        }
        let ours = check_device(device, configured, self.gateway.value().copied());
        Some(ours.map_err(|why| RefusedAddress { role: AddressRole::Device, address: device, why }))
    }

    /// Who forwards to the world, and who set it.
    pub fn gateway(&self) -> Option<(Ipv4Addr, Source)> {
        self.gateway.get().map(|(address, source)| (*address, source))
    }

    /// How packets leave by the uplink; without, none do.
    pub fn route(&self) -> Option<UplinkRoute> {
        let ((address, _), (gateway, _)) = self.address().zip(self.gateway())?;
        UplinkRoute::new(address, gateway).ok()
    }

    /// The address that clients know us by: the one that was set, or else ours on the uplink.
    pub fn client_gateway(&self) -> Ipv4Addr {
        let ours = || self.route().map_or(Ipv4Addr::UNSPECIFIED, |route| route.address().address());
        self.client_gateway.value().copied().unwrap_or_else(ours)
    }

    /// The name servers that `specialtarget=dns` in a rule stands for.
    pub fn resolvers(&self) -> &[Ipv4Addr] {
        self.resolvers.value().map_or(&[], |resolvers| resolvers)
    }

    /// How much is said on the console.
    pub fn log_level(&self) -> LevelFilter {
        self.log_level.value().copied().unwrap_or(LevelFilter::Info)
    }

    /// Compiles the rules for the resolvers that are in effect.
    pub fn compile_rules(&self) -> (RuleTable, RulesReport) {
        let rules = self.rules.value().unwrap_or(&RuleConfig::None);
        let (table, report) = rules.compile(self.resolvers());
        match self.sections {
            SectionsOf::QubesDb => {
                let sections = table.file_sections();
                (table.for_qube(), report.for_qube(sections))
            }
            SectionsOf::File | SectionsOf::Nobody => (table, report),
        }
    }

    /// The engine's settings as everything is now.
    pub fn settings(&self) -> Settings {
        let mut settings = self.defaults.clone();
        if let Some(route) = self.route() {
            (settings.uplink, settings.uplink_prefix_bits) =
                (route.address().address(), route.address().length());
        }
        settings.client_gateway = self.client_gateway();
        let limits = self.limits.all().fold(ClientLimits::default(), |before, limits| limits.over(before));
        settings.quotas = limits.of(settings.quotas);
        settings.uplink_pings = self.uplink_pings.value().copied().unwrap_or_default();
        settings
    }

    /// Sets our address on the uplink and its network.
    pub fn set_address(&mut self, source: Source, address: Option<Ipv4Prefix>, changes: &mut ChangeQueue) {
        self.change(AddressRole::Uplink, changes, |live| live.address.set(source, address));
    }

    /// Sets our address on the uplink with its network, and who forwards to the world: together, where neither goes with
    /// the other's predecessor.
    pub fn set_uplink(
        &mut self,
        source: Source,
        address: Option<Ipv4Prefix>,
        gateway: Option<Ipv4Addr>,
        changes: &mut ChangeQueue,
    ) {
        self.change(AddressRole::Uplink, changes, |live| {
            live.address.set(source, address);
            live.gateway.set(source, gateway);
        });
    }

    /// Notes the address that the toolstack gave our network device. One that cannot be ours beside what is configured is
    /// said to be refused once, and waits for what it goes with.
    pub fn set_device_address(&mut self, address: Option<Ipv4Addr>, changes: &mut ChangeQueue) {
        self.change(AddressRole::Device, changes, |live| live.device_address = address);
    }

    /// Sets who forwards to the world.
    pub fn set_gateway(&mut self, source: Source, gateway: Option<Ipv4Addr>, changes: &mut ChangeQueue) {
        self.change(AddressRole::Gateway, changes, |live| live.gateway.set(source, gateway));
    }

    /// Sets the address that clients know us by.
    pub fn set_client_gateway(
        &mut self,
        source: Source,
        address: Option<Ipv4Addr>,
        changes: &mut ChangeQueue,
    ) {
        self.change(AddressRole::ClientGateway, changes, |live| live.client_gateway.set(source, address));
    }

    /// Sets the name servers. Rules that refer to them are compiled anew.
    pub fn set_resolvers(&mut self, source: Source, resolvers: Option<Resolvers>, changes: &mut ChangeQueue) {
        let unusable = |&address: &Ipv4Addr| Some((address, check_host(address).err()?));
        if let Some((address, why)) = resolvers.iter().flatten().find_map(unusable) {
            let role = AddressRole::Resolver;
            return self.refuse(role, RefusedAddress { role, address, why }, changes);
        }
        self.accept(AddressRole::Resolver);
        let before = self.resolvers.value().cloned().unwrap_or_default();
        self.resolvers.set(source, resolvers);
        if self.resolvers() != before.as_slice() {
            let (table, report) = self.compile_rules();
            changes.push(Change::Rules(Box::new(table), Rc::new(report.again())));
            self.put_rules_about_resolvers(changes);
        }
    }

    /// Sets the rules.
    pub fn set_rules(&mut self, source: Source, rules: Option<RuleConfig>, changes: &mut ChangeQueue) {
        let before = self.rules.value().cloned();
        self.rules.set(source, rules);
        if self.rules.value() != before.as_ref() {
            self.put_rules(changes);
        }
    }

    /// Sets what one client may take.
    pub fn set_limits(&mut self, source: Source, limits: Option<ClientLimits>, changes: &mut ChangeQueue) {
        self.put(changes, |live| live.limits.set(source, limits));
    }

    /// Sets whether our address on the uplink answers pings.
    pub fn set_uplink_pings(
        &mut self,
        source: Source,
        pings: Option<UplinkPings>,
        changes: &mut ChangeQueue,
    ) {
        self.put(changes, |live| live.uplink_pings.set(source, pings));
    }

    /// Sets how much is said on the console.
    pub fn set_log_level(&mut self, source: Source, level: Option<LevelFilter>, changes: &mut ChangeQueue) {
        self.put(changes, |live| live.log_level.set(source, level));
    }

    fn put_rules(&self, changes: &mut ChangeQueue) {
        let (table, report) = self.compile_rules();
        changes.push(Change::Rules(Box::new(table), Rc::new(report)));
    }

    /// Whether the addresses that are configured can be.
    fn check(&self) -> Result<(), RefusedAddress> {
        let refused = |role, address| move |why| RefusedAddress { role, address, why };
        let (ours, gateway) = (self.address.value().copied(), self.gateway.value().copied());
        if let Some(ours) = ours {
            check_ours(ours).map_err(refused(AddressRole::Uplink, ours.address()))?;
        }
        if let Some(gateway) = gateway {
            check_host(gateway).map_err(refused(AddressRole::Gateway, gateway))?;
        }
        if let Some(&address) = self.client_gateway.value() {
            check_host(address).map_err(refused(AddressRole::ClientGateway, address))?;
        }
        let both = ours.zip(gateway);
        both.map_or(Ok(()), |(ours, gateway)| UplinkRoute::new(ours, gateway).map(drop))
    }

    /// Says that what was to be set as `role` cannot be, unless that was the last that was said of it.
    fn refuse(&mut self, role: AddressRole, refused: RefusedAddress, changes: &mut ChangeQueue) {
        let known = self.refused.get_mut(role as usize).and_then(|known| known.replace(refused));
        if known != Some(refused) {
            changes.push(Change::Refused(refused));
        }
    }

    /// What was set as `role` can be.
    fn accept(&mut self, role: AddressRole) {
        if let Some(known) = self.refused.get_mut(role as usize) {
            *known = None;
        }
    }

    /// Sets addresses by `act`, the first of them as `role`. If one of them then cannot be, all stay as they were.
    fn change(&mut self, role: AddressRole, changes: &mut ChangeQueue, act: impl FnOnce(&mut Self)) {
        let before = (self.address, self.gateway, self.client_gateway);
        let mut refused = None;
        self.put(changes, |live| {
            act(live);
            refused = live.check().err();
            if refused.is_some() {
                (live.address, live.gateway, live.client_gateway) = before;
            }
        });
        match refused {
            Some(refused) => self.refuse(role, refused, changes),
            None => self.accept(role),
        }
    }

    /// Runs `act`, and queues whatever is otherwise in effect after it.
    fn put(&mut self, changes: &mut ChangeQueue, act: impl FnOnce(&mut Self)) {
        let before = self.in_effect();
        act(self);
        self.queue_changes(&before, changes);
    }

    /// What setters may change. Called and not inlined, as is what follows: there are many setters.
    #[inline(never)]
    fn in_effect(&self) -> InEffect {
        InEffect {
            route: self.route(),
            settings: self.settings(),
            log_level: self.log_level(),
            device: self.check_device(),
        }
    }

    #[inline(never)]
    fn queue_changes(&self, before: &InEffect, changes: &mut ChangeQueue) {
        let InEffect { route, settings, log_level, device } = self.in_effect();
        if let Some(Err(refused)) = device.filter(|now| before.device.as_ref() != Some(now)) {
            changes.push(Change::Refused(refused));
        }
        if route != before.route {
            changes.push(Change::Route { from: before.route, to: route });
        }
        if settings.client_gateway != before.settings.client_gateway {
            changes.push(Change::ClientGateway(settings.client_gateway));
        }
        if settings.quotas != before.settings.quotas {
            changes.push(Change::Quotas(settings.quotas));
        }
        if settings.uplink_pings != before.settings.uplink_pings {
            changes.push(Change::UplinkPings(settings.uplink_pings));
        }
        if log_level != before.log_level {
            changes.push(Change::LogLevel(log_level));
        }
    }
}

/// What is in effect of all that setters may change but for rules.
struct InEffect {
    route: Option<UplinkRoute>,
    settings: Settings,
    log_level: LevelFilter,
    /// What the device's address comes to.
    device: Option<Result<Ipv4Prefix, RefusedAddress>>,
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
