//! A line of `[forward]`: `proto=tcp dstports=8080-8080 to=10.137.0.6:80`, in any order.

use super::problem::RuleFileMistake;
use crate::base::text::{Column, Excerpt, Word, Words};
use crate::guard::forward::PortForward;
use crate::guard::port_range::PortRange;
use crate::guard::rule::Protocol;
use crate::guard::rule_id::RuleId;
use crate::guard::service::{TCP, UDP};
use core::net::SocketAddrV4;

/// Reads the line `id`; the mistake with its column when it cannot be read.
pub(super) fn read(mut rest: Words<'_>, id: RuleId) -> Result<PortForward, (Column, RuleFileMistake)> {
    let mut draft = ForwardDraft::default();
    let start = rest.column();
    for word in rest.by_ref() {
        draft.pair(word)?;
    }
    let missing = |key| (rest.end(), RuleFileMistake::MissingKey(key));
    let protocol = draft.protocol.ok_or_else(|| missing("proto"))?;
    let ports = draft.ports.ok_or_else(|| missing("dstports"))?;
    let to = draft.to.ok_or_else(|| missing("to"))?;
    PortForward::new(id, protocol, ports, to).ok_or((start, RuleFileMistake::ImpossiblePorts))
}

#[derive(Default)]
struct ForwardDraft {
    protocol: Option<u8>,
    ports: Option<PortRange>,
    to: Option<SocketAddrV4>,
}

impl ForwardDraft {
    fn pair(&mut self, word: Word<'_>) -> Result<(), (Column, RuleFileMistake)> {
        let unknown = || (word.column, RuleFileMistake::UnknownKey(Excerpt::of(word.text)));
        let (name, value) = word.split_key().ok_or_else(unknown)?;
        let repeated = match name.text {
            "proto" => {
                let read = match Protocol::from_text(value.text) {
                    Some(Protocol::Tcp) => Some(TCP),
                    Some(Protocol::Udp) => Some(UDP),
                    Some(Protocol::Icmp) | None => None,
                };
                let read = read.ok_or_else(|| malformed("proto", value, "tcp or udp"))?;
                self.protocol.replace(read).map(|_| "proto")
            }
            "dstports" => {
                let read = PortRange::from_text(value.text)
                    .ok_or_else(|| malformed("dstports", value, "ports as 8080-8089 or 8080"))?;
                self.ports.replace(read).map(|_| "dstports")
            }
            "to" => {
                let read = value.text.parse();
                let read =
                    read.map_err(|_| malformed("to", value, "an address and port, as 10.137.0.6:80"))?;
                self.to.replace(read).map(|_| "to")
            }
            _ => return Err(unknown()),
        };
        repeated.map_or(Ok(()), |key| Err((word.column, RuleFileMistake::RepeatedKey(key))))
    }
}

fn malformed(key: &'static str, value: Word<'_>, expected: &'static str) -> (Column, RuleFileMistake) {
    (value.column, RuleFileMistake::Malformed { key, found: Excerpt::of(value.text), expected })
}
