//! Questions and answers of DNS, as messages (RFC 1035 section 4).
//!
//! The form is smoltcp's; this says what of an answer counts. Questions ask for no extension, so a server cuts an answer off
//! at 512 bytes, and that counts for the addresses that it has. Some servers do not cut, and send more.

use crate::base::host_name::HostName;
use crate::base::tick::Seconds;
use arrayvec::ArrayVec;
use core::net::Ipv4Addr;
use smoltcp::wire::{
    DnsFlags, DnsOpcode, DnsPacket, DnsQueryType, DnsQuestion, DnsRcode, DnsRecord, DnsRecordData,
};

/// Bytes of an answer at most: what a packet of Ethernet's size holds.
const MAX_ANSWER_BYTES: usize = 1472;

/// Addresses that are taken of one answer.
pub const MAX_ADDRESSES: usize = 32;

/// Aliases that are followed within one answer.
const MAX_ALIASES: usize = 8;

/// The authority's record that says how long a name is not there (RFC 2308).
const START_OF_AUTHORITY: DnsQueryType = DnsQueryType::Soa;

/// Bytes of a message's header.
const HEADER_BYTES: usize = 12;

/// Bytes of a question behind its name: what is asked for, and its class.
const QUESTION_BYTES: usize = 4;

/// Bytes of the longest question.
const MAX_QUERY_BYTES: usize = HEADER_BYTES + 255 + QUESTION_BYTES;

/// A question's message.
pub type QueryBytes = ArrayVec<u8, MAX_QUERY_BYTES>;

/// The message that asks for the addresses of `name` under the number `id`.
pub fn query(id: u16, name: &HostName) -> QueryBytes {
    let mut bytes = QueryBytes::new();
    let [high, low] = id.to_be_bytes();
    // One question, and recursion is desired.
    bytes.extend([high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.labels() {
        bytes.push(label.len() as u8);
        bytes.extend(label.iter().copied());
    }
    // The root, type A, class IN.
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// What a server says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameAnswer {
    /// It has these addresses, for so long.
    Addresses(ArrayVec<Ipv4Addr, MAX_ADDRESSES>, Seconds),
    /// It is another name, for so long, and what that one stands for is not said.
    Alias(HostName, Seconds),
    /// It has no address, for so long if that is said.
    Nothing(Option<Seconds>),
    /// The server cannot say, or what it says makes no sense.
    Failure,
}

/// A message that answers another question than the one that was asked, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTheAnswer;

type DnsMessage<'m> = DnsPacket<&'m [u8]>;

/// Reads what `bytes` answers to the question for `name` under the number `id`.
///
/// # Errors
/// It answers another question.
pub fn answer(bytes: &[u8], id: u16, name: &HostName) -> Result<NameAnswer, NotTheAnswer> {
    let message = DnsPacket::new_checked(bytes).map_err(|_| NotTheAnswer)?;
    let is_answer = bytes.len() <= MAX_ANSWER_BYTES
        && message.transaction_id() == id
        && message.flags().contains(DnsFlags::RESPONSE)
        && message.opcode() == DnsOpcode::Query
        && message.question_count() == 1;
    if !is_answer {
        return Err(NotTheAnswer);
    }
    let (records, question) = DnsQuestion::parse(message.payload()).map_err(|_| NotTheAnswer)?;
    if question.type_ != DnsQueryType::A || !is_name(&message, question.name, name) {
        return Err(NotTheAnswer);
    }
    Ok(read_records(&message, question.name, records).unwrap_or(NameAnswer::Failure))
}

/// What the `records` of a message that answers the question for `name` come to; `None` when they make no sense.
fn read_records(message: &DnsMessage<'_>, name: &[u8], records: &[u8]) -> Option<NameAnswer> {
    let is_cut = message.flags().contains(DnsFlags::TRUNCATED);
    let count = message.answer_record_count();
    let exists = match message.rcode() {
        DnsRcode::NoError => true,
        DnsRcode::NXDomain => false,
        _ => return None,
    };
    let mut answers = Records { rest: records, left: count };
    let whole = answers.by_ref().all(|record| record.is_some());
    if !whole && !is_cut {
        return None;
    }
    let authority = Records { rest: answers.rest, left: message.authority_record_count() };
    let answers = || Records { rest: records, left: count }.map_while(|record| record);

    let (mut owner, mut ttl) = (name, u32::MAX);
    for _ in 0..=MAX_ALIASES {
        let of_owner = || answers().filter(|record| is_same(message, record.name, owner));
        let mut addresses = ArrayVec::new();
        for record in of_owner() {
            if let DnsRecordData::A(address) = record.data
                && !addresses.contains(&address)
                && addresses.try_push(address).is_ok()
            {
                ttl = ttl.min(record.ttl);
            }
        }
        if exists && !addresses.is_empty() {
            return Some(NameAnswer::Addresses(addresses, seconds(ttl)));
        }
        let alias = of_owner().find_map(|record| match record.data {
            DnsRecordData::Cname(target) => Some((target, record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            return end_of_chain(message, owner, name, seconds(ttl), exists, is_cut, authority);
        };
        (owner, ttl) = (target, ttl.min(alias_ttl));
    }
    None
}

/// What an answer comes to whose aliases, if there are any, lead from `name` to `owner`, of which no address is said.
fn end_of_chain(
    message: &DnsMessage<'_>,
    owner: &[u8],
    name: &[u8],
    ttl: Seconds,
    exists: bool,
    is_cut: bool,
    authority: Records<'_>,
) -> Option<NameAnswer> {
    let end = authority.map_while(|record| record).find_map(|record| match record.data {
        DnsRecordData::Other(START_OF_AUTHORITY, data) => {
            let minimum = u32::from_be_bytes(*data.last_chunk()?);
            Some(seconds(record.ttl.min(minimum)))
        }
        _ => None,
    });
    if exists && is_cut && is_same(message, owner, name) {
        return None;
    }
    // Whoever follows an alias himself and finds nothing says so by the authority's record.
    if !exists || end.is_some() || is_same(message, owner, name) {
        return Some(NameAnswer::Nothing(end));
    }
    let labels = message.parse_name(owner).map(|label| label.unwrap_or_default());
    HostName::from_labels(labels.take(MAX_LABELS)).map(|target| NameAnswer::Alias(target, ttl))
}

/// Labels of a name at most, with one that is too many (RFC 1035, 2.3.4).
const MAX_LABELS: usize = 128;

/// A time to live; with the highest bit it is none (RFC 2181 section 8).
const fn seconds(ttl: u32) -> Seconds {
    Seconds(if ttl > i32::MAX as u32 { 0 } else { ttl })
}

/// Whether `bytes` of the message are this name.
fn is_name(message: &DnsMessage<'_>, bytes: &[u8], name: &HostName) -> bool {
    are_equal(message.parse_name(bytes).map(Result::ok), name.labels().map(Some))
}

/// Whether two names of the message are the same.
#[inline(never)]
fn is_same(message: &DnsMessage<'_>, one: &[u8], other: &[u8]) -> bool {
    core::ptr::eq(one, other)
        || are_equal(message.parse_name(one).map(Result::ok), message.parse_name(other).map(Result::ok))
}

/// Whether these are the same labels, all of them readable. Names are the same in upper and lower case.
fn are_equal<'l>(
    one: impl Iterator<Item = Option<&'l [u8]>>,
    mut other: impl Iterator<Item = Option<&'l [u8]>>,
) -> bool {
    for label in one.take(MAX_LABELS) {
        match (label, other.next().flatten()) {
            (Some(label), Some(same)) if label.eq_ignore_ascii_case(same) => {}
            _ => return false,
        }
    }
    other.next().is_none()
}

/// Records one after the other: `None` for one that cannot be read, which is the last.
#[derive(Clone)]
struct Records<'m> {
    rest: &'m [u8],
    left: u16,
}

impl<'m> Iterator for Records<'m> {
    type Item = Option<DnsRecord<'m>>;

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        match DnsRecord::parse(self.rest) {
            Ok((rest, record)) => {
                self.rest = rest;
                Some(Some(record))
            }
            Err(_) => {
                self.left = 0;
                Some(None)
            }
        }
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
