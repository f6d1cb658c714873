//! A line of `[permit]`: `from=A to=B` and a rule without a destination.

use super::problem::Mistake;
use crate::base::prefix::Ipv4Prefix;
use crate::base::text::{Column, Excerpt, Words, words};
use crate::guard::compiled::{Compiled, CompiledRule, Decision, Lifetime};
use crate::guard::permit::Permit;
use crate::guard::rule::{Action, Destination, Origin, Rule};
use crate::guard::service::Services;

/// A line that cannot be read, and between whom it is, if that can.
pub(super) struct PermitFault {
    pub(super) column: Column,
    pub(super) mistake: Mistake,
    pub(super) between: Option<(Ipv4Prefix, Ipv4Prefix)>,
}

/// Reads a line.
pub(super) fn read(line: &str) -> Result<Permit, PermitFault> {
    let mut rest = words(line);
    let (from, to) =
        ends(&mut rest).map_err(|(column, mistake)| PermitFault { column, mistake, between: None })?;
    let fault = |column, mistake| PermitFault { column, mistake, between: Some((from, to)) };

    let start = rest.clone().next().map_or(rest.end(), |word| word.column);
    let rule = Rule::from_words(rest, Origin::File)
        .map_err(|error| fault(error.column, Mistake::Rule(error.problem)))?;
    if rule.destination != Destination::Any || rule.special_target.is_some() {
        return Err(fault(start, Mistake::SecondDestination));
    }
    match CompiledRule::from_rule(&rule, &[]) {
        Compiled::Ready(mut rule) => {
            rule.destinations = [to].into();
            Ok(Permit { from, rule })
        }
        Compiled::NeverMatches(_, obstacle) | Compiled::Blocks(obstacle) => {
            Err(fault(start, Mistake::Obstacle(obstacle)))
        }
    }
}

/// What a wrong line counts as.
pub(super) fn refusal(from: Ipv4Prefix, to: Ipv4Prefix) -> Permit {
    let decision = Decision { action: Action::Drop, lifetime: Lifetime::Forever };
    let services = [Services::ALL].into_iter().collect();
    Permit { from, rule: CompiledRule { decision, destinations: [to].into(), services } }
}

/// Reads `from=` and `to=`, in either order, and leaves the rule.
fn ends(rest: &mut Words<'_>) -> Result<(Ipv4Prefix, Ipv4Prefix), (Column, Mistake)> {
    let (mut from, mut to) = (None, None);
    loop {
        let mut ahead = rest.clone();
        let word = ahead.next();
        let pair = word.and_then(|word| word.split_key());
        let (end, key, value) = match pair {
            Some((key, value)) if key.text == "from" => (&mut from, "from", value),
            Some((key, value)) if key.text == "to" => (&mut to, "to", value),
            _ => break,
        };
        let malformed = Mistake::Malformed {
            key,
            found: Excerpt::of(value.text),
            expected: "an address or network, as 10.137.0.5 or 10.137.0.0/24",
        };
        let network: Ipv4Prefix = value.text.parse().map_err(|_| (value.column, malformed))?;
        if end.replace(network.network()).is_some() {
            return Err((value.column, Mistake::RepeatedKey(key)));
        }
        *rest = ahead;
    }
    let column = rest.clone().next().map_or(rest.end(), |word| word.column);
    let from = from.ok_or((column, Mistake::MissingKey("from")))?;
    let to = to.ok_or((column, Mistake::MissingKey("to")))?;
    Ok((from, to))
}
