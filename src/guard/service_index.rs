//! Intervals of services, each with a rule: which is the first rule that counts now and holds a service?
//!
//! Few intervals are looked at one by one. Many become a segment tree: the ends of all intervals cut the line of
//! services into m segments, the leaves; an interval is noted at the O(log m) nodes that together make
//! it up, so a service's rules are those noted between its leaf and the root.
//!
//! A node keeps a rule only if it outlives every earlier rule noted there: what is kept rises in
//! rank and in lifetime, so the first that counts now is found by binary search. Without rules that
//! expire a node keeps one.
//!
//! For k intervals: look-up O(log² k), or O(log k) when nothing expires; memory O(k log k) words at worst, O(k) when
//! nothing expires. A look-up allocates nothing.

use super::compiled::Lifetime;
use super::decisions::Rank;
use super::service::{ServiceNumber, ServiceRange};
use crate::base::sort::sort_by_key;
use crate::base::time::UnixSeconds;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Up to so many intervals are looked at one by one.
const FEW: usize = 8;

/// Intervals by rank, arranged for look-up.
#[derive(Debug)]
pub(super) enum ServiceIndex {
    /// In rank order.
    Few(Box<[(ServiceRange, Rank)]>),
    /// A segment tree.
    Many(Box<SegmentTree>),
}

impl ServiceIndex {
    /// Arranges intervals, which must come in rank order. `lifetimes` are those of all ranks.
    pub(super) fn new(intervals: &[(ServiceRange, Rank)], lifetimes: &[Lifetime]) -> Self {
        debug_assert!(intervals.is_sorted_by_key(|(_, rank)| *rank));
        if intervals.len() <= FEW {
            Self::Few(intervals.into())
        } else {
            Self::Many(Box::new(SegmentTree::new(intervals, lifetimes)))
        }
    }

    /// The first rule with an interval that holds `service` and that counts at `now`.
    pub(super) fn first(
        &self,
        service: ServiceNumber,
        lifetimes: &[Lifetime],
        now: UnixSeconds,
    ) -> Option<Rank> {
        let counts = |rank: &Rank| lifetime(*rank, lifetimes).is_some_and(|lifetime| lifetime.includes(now));
        match self {
            Self::Few(intervals) => intervals
                .iter()
                .find(|(services, rank)| services.contains(service) && counts(rank))
                .map(|(_, rank)| *rank),
            Self::Many(tree) => tree.nodes_of(service).filter_map(|node| first_of(node, counts)).min(),
        }
    }
}

/// How long a rule counts; a rank without a rule never does.
fn lifetime(rank: Rank, lifetimes: &[Lifetime]) -> Option<Lifetime> {
    lifetimes.get(rank.0 as usize).copied()
}

/// The first of a node's ranks that counts: lifetimes rise, so those that do not are in front. Mostly there are none.
fn first_of(node: &[Rank], counts: impl Fn(&Rank) -> bool) -> Option<Rank> {
    let (first, later) = node.split_first()?;
    if counts(first) {
        return Some(*first);
    }
    later.get(later.partition_point(|rank| !counts(rank))).copied()
}

/// A segment tree without pointers: node 1 is the root, nodes 2n and 2n + 1 are below node n, and leaf i is node
/// m + i.
#[derive(Debug)]
pub(super) struct SegmentTree {
    /// Where each segment begins; the last one has no end.
    starts: Box<[ServiceNumber]>,
    /// Per node, where its ranks begin; the next node's beginning is their end.
    begins: Box<[u32]>,
    ranks: Box<[Rank]>,
}

impl SegmentTree {
    fn new(intervals: &[(ServiceRange, Rank)], lifetimes: &[Lifetime]) -> Self {
        let ends = intervals.iter().flat_map(|(services, _)| [services.first, services.last.next()]);
        let mut starts: Vec<ServiceNumber> = ends.collect();
        sort_by_key(&mut starts, |start| u64::from(start.0));
        starts.dedup();
        let nodes = starts.len() * 2;

        // Twice the same walk: first to count, then to fill.
        let mut counts = vec![0u32; nodes + 1];
        note(&starts, intervals, lifetimes, |node, _| {
            if let Some(count) = counts.get_mut(node) {
                *count += 1;
            }
        });
        let mut total = 0;
        for count in &mut counts {
            total += core::mem::replace(count, total);
        }
        let begins: Box<[u32]> = counts.clone().into();
        let mut ranks = vec![Rank(0); total as usize];
        let mut free = counts;
        note(&starts, intervals, lifetimes, |node, rank| {
            if let Some(place) = free.get_mut(node) {
                if let Some(slot) = ranks.get_mut(*place as usize) {
                    *slot = rank;
                }
                *place += 1;
            }
        });
        Self { starts: starts.into(), begins, ranks: ranks.into() }
    }

    /// The ranks noted at each node from the service's leaf to the root.
    fn nodes_of(&self, service: ServiceNumber) -> impl Iterator<Item = &[Rank]> {
        let after = self.starts.partition_point(|start| *start <= service);
        let leaf = after.checked_sub(1).map(|segment| self.starts.len() + segment);
        core::iter::successors(leaf, |node| Some(node / 2).filter(|node| *node > 0))
            .filter_map(|node| self.ranks_at(node))
    }

    fn ranks_at(&self, node: usize) -> Option<&[Rank]> {
        let begin = *self.begins.get(node)? as usize;
        let end = *self.begins.get(node + 1)? as usize;
        self.ranks.get(begin..end)
    }
}

/// Calls `keep(node, rank)` for every rank that a node keeps, each node's in rank order.
fn note(
    starts: &[ServiceNumber],
    intervals: &[(ServiceRange, Rank)],
    lifetimes: &[Lifetime],
    mut keep: impl FnMut(usize, Rank),
) {
    let mut longest: Vec<Option<Lifetime>> = vec![None; starts.len() * 2];
    for (services, rank) in intervals {
        let lifetime = lifetime(*rank, lifetimes);
        let mut visit = |node: usize| {
            if let Some(longest) = longest.get_mut(node)
                && *longest < lifetime
            {
                *longest = lifetime;
                keep(node, *rank);
            }
        };
        // From both ends upwards: a node that is not wholly covered by its parent is one of those wanted.
        let leaf = |service: ServiceNumber| starts.len() + starts.partition_point(|start| *start < service);
        let (mut left, mut right) = (leaf(services.first), leaf(services.last.next()));
        while left < right {
            if left % 2 == 1 {
                visit(left);
                left += 1;
            }
            if right % 2 == 1 {
                right -= 1;
                visit(right);
            }
            left /= 2;
            right /= 2;
        }
    }
}
