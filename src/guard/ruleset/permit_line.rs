//! A line of `[permit]`: `from=A to=B` and a rule without a destination.

use super::problem::RuleFileMistake;
use crate::base::prefix::Ipv4Prefix;
use crate::base::text::{Column, Excerpt, Words};
use crate::guard::compiled::{Compiled, CompiledRule, Destinations, Lifetime};
use crate::guard::permit::Permit;
use crate::guard::rule::{Destination, Rule, RuleAction};
use crate::guard::rule_id::RuleId;
use crate::guard::service::ServiceRange;

/// A line that cannot be read, and between whom it is, if that can.
pub(super) struct PermitFault {
    pub(super) column: Column,
    pub(super) mistake: RuleFileMistake,
    pub(super) between: Option<(Ipv4Prefix, Ipv4Prefix)>,
}

/// Reads the line `id`.
pub(super) fn read(mut rest: Words<'_>, id: RuleId) -> Result<Permit, PermitFault> {
    let (from, to) =
        ends(&mut rest).map_err(|(column, mistake)| PermitFault { column, mistake, between: None })?;
    let fault = |column, mistake| PermitFault { column, mistake, between: Some((from, to)) };

    let start = rest.column();
    let (rule, _) = Rule::from_words(rest, id)
        .map_err(|error| fault(error.column, RuleFileMistake::Rule(error.mistake)))?;
    if rule.destination != Destination::Any || rule.special_target.is_some() {
        return Err(fault(start, RuleFileMistake::SecondDestination));
    }
    match CompiledRule::from_rule(&rule, &[]) {
        Compiled::Ready(mut rule) => {
            rule.destinations = Destinations::Networks([to].into());
            Ok(Permit { from, rule })
        }
        Compiled::NeverMatches(_, obstacle) | Compiled::Blocks(obstacle) => {
            Err(fault(start, RuleFileMistake::Obstacle(obstacle)))
        }
    }
}

/// What a wrong line counts as.
pub(super) fn refusal(id: RuleId, from: Ipv4Prefix, to: Ipv4Prefix) -> Permit {
    let services = [ServiceRange::ALL].into_iter().collect();
    let destinations = Destinations::Networks([to].into());
    let (action, lifetime) = (RuleAction::Drop, Lifetime::FOREVER);
    Permit { from, rule: CompiledRule { id, action, lifetime, destinations, services } }
}

/// Reads `from=` and `to=`, in either order, and leaves the rule.
fn ends(rest: &mut Words<'_>) -> Result<(Ipv4Prefix, Ipv4Prefix), (Column, RuleFileMistake)> {
    let (mut from, mut to) = (None, None);
    while let Some(pair) = rest.peek().map(|word| word.split_key()) {
        let (end, key, value) = match pair {
            Some((key, value)) if key.text == "from" => (&mut from, "from", value),
            Some((key, value)) if key.text == "to" => (&mut to, "to", value),
            _ => break,
        };
        let malformed = RuleFileMistake::Malformed {
            key,
            found: Excerpt::of(value.text),
            expected: "an address or network, as 10.137.0.5 or 10.137.0.0/24",
        };
        let network: Ipv4Prefix = value.text.parse().map_err(|_| (value.column, malformed))?;
        if end.replace(network.network()).is_some() {
            return Err((value.column, RuleFileMistake::RepeatedKey(key)));
        }
        rest.next();
    }
    let column = rest.column();
    let from = from.ok_or((column, RuleFileMistake::MissingKey("from")))?;
    let to = to.ok_or((column, RuleFileMistake::MissingKey("to")))?;
    Ok((from, to))
}
