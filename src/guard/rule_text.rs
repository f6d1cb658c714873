//! Reading a Qubes firewall rule: `action=accept proto=tcp dstports=443-443 dst4=10.0.0.0/8`.
//!
//! The same parser reads the static rule file and QubesDB. Grammar and meaning are those of Qubes'
//! API documentation ("vm-interface", firewall rules in 4.x) and of its Linux agent (qubesagent/firewall.py):
//! `key=value` pairs between blanks, `action` first where a person writes them, every key at most once, one destination
//! at most.

use super::port_range::PortRange;
use super::rule::{Destination, Protocol, Rule, RuleAction, SpecialTarget};
use super::rule_error::{RuleError, RuleMistake};
use super::rule_id::RuleId;
use super::rule_key::RuleKey;
use crate::base::bug::bug;
use crate::base::text::{Column, Excerpt, Word, Words, decimal, words};
use crate::base::time::UnixSeconds;
use arrayvec::ArrayVec;

/// Characters of a host name (RFC 1035, 2.3.4).
const MAX_HOST_NAME_BYTES: usize = 253;

/// Where the keys of a rule are in its line: each once, so there is room for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyColumns(ArrayVec<(RuleKey, Column), { RuleKey::COUNT }>);

impl KeyColumns {
    /// Where `key` is, if the rule has it.
    pub fn of(&self, key: RuleKey) -> Option<Column> {
        self.0.iter().find(|(seen, _)| *seen == key).map(|(_, column)| *column)
    }
}

impl Rule {
    /// Reads the rule `id` from a line that holds nothing else.
    ///
    /// # Errors
    /// The first mistake, with its column.
    pub fn parse(line: &str, id: RuleId) -> Result<Rule, RuleError> {
        let (rule, _) = Self::from_words(words(line), id)?;
        Ok(rule)
    }

    /// Reads the rule `id` from the rest of a line, and where its keys are there. `comment=` takes all that follows
    /// it.
    ///
    /// # Errors
    /// The first mistake, with its column in the line.
    pub fn from_words(mut rest: Words<'_>, id: RuleId) -> Result<(Rule, KeyColumns), RuleError> {
        if rest.peek().is_none() {
            return Err(RuleError { column: rest.end(), mistake: RuleMistake::NoAction });
        }
        let mut draft = RuleDraft::new(id);
        for word in rest.by_ref() {
            if draft.pair(word)? == RuleKey::Comment {
                break;
            }
        }
        draft.finish(rest.end())
    }
}

/// A rule in the making.
struct RuleDraft {
    rule: Rule,
    columns: KeyColumns,
}

impl RuleDraft {
    fn new(id: RuleId) -> Self {
        let rule = Rule {
            id,
            action: RuleAction::Drop,
            destination: Destination::Any,
            protocol: None,
            special_target: None,
            ports: None,
            icmp_type: None,
            expires: None,
        };
        Self { rule, columns: KeyColumns::default() }
    }

    const fn is_from_qubesdb(&self) -> bool {
        self.rule.id.source.is_written_by_qubesd()
    }

    fn pair(&mut self, word: Word<'_>) -> Result<RuleKey, RuleError> {
        let at = |mistake| RuleError { column: word.column, mistake };
        let (name, value) =
            word.split_key().ok_or_else(|| at(RuleMistake::NoPair(Excerpt::of(word.text))))?;
        let key = RuleKey::from_text(name.text);
        let key = key.ok_or_else(|| at(RuleMistake::UnknownKey(Excerpt::of(name.text))))?;
        if self.is_from_qubesdb() && matches!(key, RuleKey::Expire | RuleKey::Comment) {
            return Err(at(RuleMistake::FileOnly(key)));
        }
        if !self.is_from_qubesdb() && self.columns.0.is_empty() && key != RuleKey::Action {
            return Err(at(RuleMistake::ActionFirst));
        }
        if self.columns.of(key).is_some() {
            return Err(at(RuleMistake::Repeated(key)));
        }
        let destinations = [RuleKey::Dst4, RuleKey::Dst6, RuleKey::DstHost];
        if destinations.contains(&key) && self.rule.destination != Destination::Any {
            return Err(at(RuleMistake::SecondDestination(key)));
        }
        self.value(key, value.text).ok_or_else(|| RuleError {
            column: value.column,
            mistake: RuleMistake::Malformed(key, Excerpt::of(value.text)),
        })?;
        if self.columns.0.try_push((key, word.column)).is_err() {
            bug("more columns than keys");
        }
        Ok(key)
    }

    fn value(&mut self, key: RuleKey, text: &str) -> Option<()> {
        let rule = &mut self.rule;
        match key {
            RuleKey::Action => rule.action = RuleAction::from_text(text)?,
            RuleKey::Dst4 => rule.destination = Destination::V4(text.parse().ok()?),
            RuleKey::Dst6 => rule.destination = network6(text)?,
            RuleKey::DstHost => rule.destination = Destination::Host(host_name(text)?.into()),
            RuleKey::Proto => rule.protocol = Some(Protocol::from_text(text)?),
            RuleKey::SpecialTarget => {
                rule.special_target = Some((text == "dns").then_some(SpecialTarget::Dns)?);
            }
            RuleKey::DstPorts => rule.ports = Some(PortRange::from_text(text)?),
            RuleKey::IcmpType => rule.icmp_type = Some(decimal(text)?),
            RuleKey::Expire => rule.expires = Some(UnixSeconds(decimal(text)?)),
            RuleKey::Comment => {}
        }
        Some(())
    }

    /// The rule; `end` is where the line ends.
    fn finish(self, end: Column) -> Result<(Rule, KeyColumns), RuleError> {
        if self.columns.of(RuleKey::Action).is_none() {
            return Err(RuleError { column: end, mistake: RuleMistake::NoAction });
        }
        let unsaid = self.is_from_qubesdb() || self.rule.special_target.is_some();
        let ports_fine = match self.rule.protocol {
            Some(Protocol::Tcp | Protocol::Udp) => true,
            Some(Protocol::Icmp) => false,
            None => unsaid && self.rule.icmp_type.is_none(),
        };
        let icmp_fine = match self.rule.protocol {
            Some(Protocol::Icmp) => true,
            Some(Protocol::Tcp | Protocol::Udp) => false,
            None => self.is_from_qubesdb(),
        };
        if !ports_fine && let Some(column) = self.columns.of(RuleKey::DstPorts) {
            return Err(RuleError { column, mistake: RuleMistake::PortsNeedTcpOrUdp });
        }
        if !icmp_fine && let Some(column) = self.columns.of(RuleKey::IcmpType) {
            return Err(RuleError { column, mistake: RuleMistake::IcmpTypeNeedsIcmp });
        }
        Ok((self.rule, self.columns))
    }
}

fn network6(text: &str) -> Option<Destination> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, decimal(length)?),
        None => (text, 128),
    };
    (length <= 128).then_some(Destination::V6(address.parse().ok()?, length))
}

fn host_name(text: &str) -> Option<&str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
    (!text.is_empty() && text.len() <= MAX_HOST_NAME_BYTES && text.chars().all(allowed)).then_some(text)
}

#[cfg(test)]
#[path = "rule_text_tests.rs"]
mod tests;
