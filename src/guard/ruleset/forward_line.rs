//! A line of `[forward]`: `proto=tcp dstports=8080-8080 to=10.137.0.6:80`, in any order.

use super::problem::Mistake;
use crate::base::text::{Column, Excerpt, Word, words};
use crate::guard::forward::PortForward;
use crate::guard::rule::{PortRange, Protocol, protocol};
use crate::guard::service::{TCP, UDP};
use core::net::SocketAddrV4;

/// Reads a line; the mistake with its column when it cannot be read.
pub(super) fn read(line: &str) -> Result<PortForward, (Column, Mistake)> {
    let mut draft = Draft::default();
    let mut rest = words(line);
    let start = rest.clone().next().map_or(rest.end(), |word| word.column);
    for word in rest.by_ref() {
        draft.pair(word)?;
    }
    let missing = |key| (rest.end(), Mistake::MissingKey(key));
    let protocol = draft.protocol.ok_or_else(|| missing("proto"))?;
    let ports = draft.ports.ok_or_else(|| missing("dstports"))?;
    let to = draft.to.ok_or_else(|| missing("to"))?;
    PortForward::new(protocol, ports, to).ok_or((start, Mistake::ImpossiblePorts))
}

#[derive(Default)]
struct Draft {
    protocol: Option<u8>,
    ports: Option<PortRange>,
    to: Option<SocketAddrV4>,
}

impl Draft {
    fn pair(&mut self, word: Word<'_>) -> Result<(), (Column, Mistake)> {
        let unknown = || (word.column, Mistake::UnknownKey(Excerpt::of(word.text)));
        let (name, value) = word.split_key().ok_or_else(unknown)?;
        let repeated = match name.text {
            "proto" => {
                let read = match protocol(value.text) {
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
        repeated.map_or(Ok(()), |key| Err((word.column, Mistake::RepeatedKey(key))))
    }
}

fn malformed(key: &'static str, value: Word<'_>, expected: &'static str) -> (Column, Mistake) {
    (value.column, Mistake::Malformed { key, found: Excerpt::of(value.text), expected })
}
