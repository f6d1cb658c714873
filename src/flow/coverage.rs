//! Which bytes of a datagram have arrived, and whether its fragments contradict each other.

use crate::wire::ipv4::{Ipv4, Part};

/// Stretches of arrived bytes that are kept track of: more than any order of 1,500-byte fragments of one datagram can
/// make.
const MOST: usize = 32;

/// Bytes `start..end` of a datagram's payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u16,
    end: u16,
}

/// Why a fragment does not fit with those that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoverageError {
    /// All of it has arrived already, and it says nothing else of where the datagram ends.
    Duplicate,
    /// It overlaps another one with bytes that have not arrived, or lies beyond the end, or says the datagram ends
    /// elsewhere.
    Overlap,
    /// The fragments are too scattered to keep track of.
    TooScattered,
}

/// What has arrived of one datagram.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    /// The first `count` are in order and neither touch nor overlap.
    spans: [Span; MOST],
    count: usize,
    /// Where the datagram ends, once its last fragment has arrived.
    end: Option<u16>,
}

impl Coverage {
    /// Adds the fragment that `ip` is. What has arrived is not changed by a duplicate (RFC 8200 section 4.5); any other
    /// overlap is refused, of a single byte too (RFC 5722 for IPv6, RFC 1858).
    pub fn add(&mut self, ip: &Ipv4) -> Result<(), CoverageError> {
        let start = match ip.part {
            Part::Whole | Part::First => 0,
            Part::Middle { offset_bytes } | Part::Last { offset_bytes } => offset_bytes,
        };
        // Ipv4::read made sure that the sum fits.
        let end = start.saturating_add(ip.payload_bytes());
        let is_last = matches!(ip.part, Part::Whole | Part::Last { .. });
        let highest = self.spans.get(self.count.wrapping_sub(1)).map_or(0, |span| span.end);
        match self.end {
            Some(known) if end > known || is_last != (end == known) => return Err(CoverageError::Overlap),
            None if is_last && end <= highest => return Err(CoverageError::Overlap),
            _ => {}
        }
        self.insert(Span { start, end })?;
        if is_last {
            self.end = Some(end);
        }
        Ok(())
    }

    fn insert(&mut self, new: Span) -> Result<(), CoverageError> {
        let arrived = self.spans.get(..self.count).unwrap_or(&[]);
        let at = arrived.partition_point(|span| span.end <= new.start);
        if let Some(span) = arrived.get(at).filter(|span| span.start < new.end) {
            let all = span.start <= new.start && new.end <= span.end;
            return Err(if all { CoverageError::Duplicate } else { CoverageError::Overlap });
        }
        let joins_before =
            at.checked_sub(1).filter(|before| arrived.get(*before).is_some_and(|s| s.end == new.start));
        let joins_after = arrived.get(at).filter(|span| span.start == new.end).map(|span| span.end);
        match (joins_before, joins_after) {
            (Some(before), Some(end)) => {
                self.set_end(before, end);
                self.spans.copy_within(at + 1..self.count, at);
                self.count -= 1;
            }
            (Some(before), None) => self.set_end(before, new.end),
            (None, Some(_)) => {
                if let Some(span) = self.spans.get_mut(at) {
                    span.start = new.start;
                }
            }
            (None, None) => {
                if self.count == MOST {
                    return Err(CoverageError::TooScattered);
                }
                self.spans.copy_within(at..self.count, at + 1);
                if let Some(span) = self.spans.get_mut(at) {
                    *span = new;
                }
                self.count += 1;
            }
        }
        Ok(())
    }

    fn set_end(&mut self, at: usize, end: u16) {
        if let Some(span) = self.spans.get_mut(at) {
            span.end = end;
        }
    }

    /// Whether every byte has arrived.
    pub fn is_complete(&self) -> bool {
        let only = self.spans.first().filter(|_| self.count == 1);
        self.end.is_some_and(|end| only.is_some_and(|span| span.start == 0 && span.end == end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ipv4::DontFragment;
    use core::net::Ipv4Addr;
    use std::vec::Vec;

    fn fragment(part: Part, payload: u16) -> Ipv4 {
        Ipv4 {
            header_bytes: 20,
            total_bytes: payload + 20,
            tos: 0,
            ident: 0,
            dont_fragment: DontFragment::Clear,
            part,
            ttl: 64,
            protocol: 17,
            source: Ipv4Addr::UNSPECIFIED,
            destination: Ipv4Addr::UNSPECIFIED,
        }
    }

    fn middle(offset_bytes: u16, payload: u16) -> Ipv4 {
        fragment(Part::Middle { offset_bytes }, payload)
    }

    fn last(offset_bytes: u16, payload: u16) -> Ipv4 {
        fragment(Part::Last { offset_bytes }, payload)
    }

    #[test]
    fn a_datagram_is_complete_in_any_order_of_its_fragments() {
        let pieces = [fragment(Part::First, 16), middle(16, 8), middle(24, 8), last(32, 5)];
        let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1], [3, 0, 2, 1], [0, 2, 1, 3]];
        for order in orders {
            let mut spans = Coverage::default();
            for piece in order {
                assert!(!spans.is_complete());
                spans.add(&pieces[piece]).unwrap();
            }
            assert!(spans.is_complete());
        }
    }

    #[test]
    fn an_overlap_that_brings_bytes_or_another_end_is_a_contradiction() {
        for second in [middle(0, 16), middle(8, 24), middle(0, 32), last(16, 1), last(16, 8), last(8, 24)] {
            let mut spans = Coverage::default();
            spans.add(&middle(8, 16)).unwrap();
            assert_eq!(spans.add(&second), Err(CoverageError::Overlap), "{second:?}");
        }
        for second in [middle(16, 8), middle(8, 16), last(8, 8), last(16, 9)] {
            let mut spans = Coverage::default();
            spans.add(&last(8, 16)).unwrap();
            assert_eq!(spans.add(&second), Err(CoverageError::Overlap), "{second:?}");
        }
    }

    #[test]
    fn a_duplicate_changes_nothing() {
        let pieces = [fragment(Part::First, 16), middle(16, 8), last(24, 13)];
        let mut spans = Coverage::default();
        for (at, piece) in pieces.iter().enumerate() {
            spans.add(piece).unwrap();
            for duplicate in &pieces[..=at] {
                assert_eq!(spans.add(duplicate), Err(CoverageError::Duplicate), "{duplicate:?}");
            }
            assert_eq!(spans.is_complete(), at == 2);
        }
        // A part of what arrived, or several pieces of it in one.
        for within in [middle(8, 8), middle(8, 16), last(16, 21), last(32, 5)] {
            assert_eq!(spans.add(&within), Err(CoverageError::Duplicate), "{within:?}");
        }
        assert!(spans.is_complete());
    }

    #[test]
    fn a_second_end_or_bytes_beyond_the_end_are_contradictions() {
        let mut spans = Coverage::default();
        spans.add(&last(32, 5)).unwrap();
        assert_eq!(spans.add(&last(64, 5)), Err(CoverageError::Overlap));
        assert_eq!(spans.add(&middle(40, 8)), Err(CoverageError::Overlap));
        let mut spans = Coverage::default();
        spans.add(&middle(40, 8)).unwrap();
        assert_eq!(spans.add(&last(24, 8)), Err(CoverageError::Overlap));
    }

    #[test]
    fn scattered_fragments_are_refused_when_they_are_too_many() {
        let mut spans = Coverage::default();
        let results: Vec<_> = (0..MOST as u16 + 1).map(|n| spans.add(&middle(n * 16 + 8, 8))).collect();
        assert!(results[..MOST].iter().all(Result::is_ok));
        assert_eq!(results[MOST], Err(CoverageError::TooScattered));
        spans.add(&middle(16, 8)).unwrap();
    }

    #[test]
    fn a_datagram_of_the_largest_size_completes() {
        let mut spans = Coverage::default();
        spans.add(&fragment(Part::First, 1480)).unwrap();
        let mut at = 1480;
        while 65_515 - at > 1480 {
            spans.add(&middle(at, 1480)).unwrap();
            at += 1480;
        }
        spans.add(&last(at, 65_515 - at)).unwrap();
        assert!(spans.is_complete());
    }
}
