//! Frames that wait to leave by one vif, in a lane for each account: one for each client, whatever slot it is on, and one
//! for everything else.
//!
//! Lanes are served by deficit round robin over bytes (Shreedhar and Varghese, 1995), so what one account has waiting
//! neither delays nor displaces another's: whoever has something waiting gets the same number of bytes through, and
//! when all room is used up the account that holds most of it loses its oldest frame. A frame larger than a turn is
//! sent and owed for; what is owed is not forgotten when the lane runs empty, only as rounds go by.

use crate::base::bug::OrBug;
use crate::tables::share::Account;
use crate::vif::frame::Frame;
use crate::xen::page_pool::PagePool;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Bytes that a lane may send in its turn: two packets of the usual MTU.
const QUANTUM: i32 = 2 * 1514;

/// The credit of a lane that is alone, which may send as much as it likes.
const ALONE: i32 = 1 << 30;

/// Where nothing is: behind the last frame of a lane, and the last lane of the round.
const NOWHERE: u16 = u16::MAX;

/// A place for a frame.
#[derive(Debug)]
struct QueuePlace {
    frame: Option<Frame>,
    /// The next frame of the same lane, or the next free place.
    next: u16,
}

/// One account's frames.
#[derive(Clone, Copy, Debug)]
struct Lane {
    first: u16,
    /// Only of meaning if there is a first.
    last: u16,
    /// The lane whose turn comes after this one's.
    next: u16,
    /// Pages of its frames.
    pages: u16,
    /// Bytes that it may still send in this round; negative if it owes some.
    credit: i32,
    /// The round of its last turn.
    round: u32,
    standing: LaneState,
}

impl Lane {
    /// Rounds' worth of bytes that it sent while it was alone.
    fn rounds_alone(&self) -> u32 {
        if self.credit > QUANTUM { (ALONE - self.credit) as u32 / QUANTUM as u32 } else { 0 }
    }
}

/// Whether a lane takes part in the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneState {
    /// It does, until its turn comes and it is empty.
    Listed,
    /// It does not.
    Absent,
}

/// Whether there is room for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Made,
    /// Its own account holds most of what waits.
    None,
}

/// Frames that wait, by account.
#[derive(Debug)]
pub struct FairQueue {
    places: Vec<QueuePlace>,
    /// The first free place.
    free: u16,
    lanes: Box<[Lane; Account::COUNT]>,
    /// The lane whose turn it is, and the one whose turn is last.
    turn: u16,
    last: u16,
    round: u32,
    /// Of all frames.
    pages: usize,
}

fn lane_of(account: Account) -> usize {
    account.position()
}

impl FairQueue {
    /// Room for frames of `pages` pages together; all memory is taken now.
    pub fn with_capacity(pages: u16) -> Self {
        let places = (0..pages)
            .map(|at| QueuePlace { frame: None, next: if at + 1 < pages { at + 1 } else { NOWHERE } });
        let lane = Lane {
            first: NOWHERE,
            last: NOWHERE,
            next: NOWHERE,
            pages: 0,
            credit: 0,
            round: 0,
            standing: LaneState::Absent,
        };
        Self {
            places: places.collect(),
            free: if pages > 0 { 0 } else { NOWHERE },
            lanes: Box::new([lane; Account::COUNT]),
            turn: NOWHERE,
            last: NOWHERE,
            round: 0,
            pages: 0,
        }
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// Pages of the frames that wait.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Pages of the frames that wait on `account`.
    pub fn pages_of(&self, account: Account) -> usize {
        self.lanes.get(lane_of(account)).map_or(0, |lane| usize::from(lane.pages))
    }

    /// Pages that may be taken from `account` without displacing anything: its lane grows as long as it holds less than
    /// what is free (Choudhury and Hahne, 1998). So a lane alone takes half of all, n lanes take 1/(n + 1) each, and
    /// as much is left for the next one to come. Where the others left nothing, an empty lane has room for one packet of
    /// `packet_pages`: it displaces what the largest lane has.
    pub fn room(&self, account: Account, packet_pages: usize) -> usize {
        let lane = self.pages_of(account);
        let free = self.places.len().saturating_sub(self.pages).saturating_sub(lane);
        if lane == 0 { free.max(packet_pages) } else { free }
    }

    /// Makes room for a frame of `account` where frames of `most_pages` or more wait: frames of the account that holds
    /// most give way to it, its oldest first, and `displaced` gets them. There is none if that is `account` itself.
    #[inline(always)]
    pub fn make_room(
        &mut self,
        account: Account,
        most_pages: usize,
        mut displaced: impl FnMut(Frame),
    ) -> Room {
        while self.pages >= most_pages || self.free == NOWHERE {
            match self.make_way(lane_of(account)) {
                Some(other) => displaced(other),
                None => return Room::None,
            }
        }
        Room::Made
    }

    /// Adds a frame behind those of its account, for which [`Self::make_room`] made room. It comes back if there is none.
    #[inline(always)]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        let at = lane_of(frame.account());
        let pages = frame.segments().len();
        let here = self.free;
        let (Some(place), Some(lane)) = (self.places.get_mut(usize::from(here)), self.lanes.get_mut(at))
        else {
            return Err(frame);
        };
        self.free = core::mem::replace(&mut place.next, NOWHERE);
        place.frame = Some(frame);
        lane.pages += pages as u16;
        self.pages += pages;
        let before = core::mem::replace(&mut lane.last, here);
        if lane.first == NOWHERE {
            lane.first = here;
            if lane.standing == LaneState::Absent {
                self.list(at);
            }
        } else if let Some(before) =
            self.places.get_mut(usize::from(before)).or_bug("a lane without its last")
        {
            before.next = here;
        }
        Ok(())
    }

    /// Puts a lane that has something again at the end of the round. Its debt shrinks by what it could have sent in the
    /// rounds that went by without it.
    fn list(&mut self, at: usize) {
        // The lane that was alone is so no longer: what it sent meanwhile counts as rounds that went by.
        if let Some(alone) = self.lanes.get_mut(usize::from(self.turn)) {
            self.round = self.round.wrapping_add(alone.rounds_alone());
            alone.credit = alone.credit.min(QUANTUM);
        }
        let Some(lane) = self.lanes.get_mut(at) else { return };
        let turns = self.round.wrapping_sub(lane.round).saturating_add(1).min(1 << 16) as i32;
        lane.credit = lane.credit.saturating_add(turns * QUANTUM).min(QUANTUM);
        lane.standing = LaneState::Listed;
        self.append(at);
    }

    fn append(&mut self, at: usize) {
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.next = NOWHERE;
        }
        match self.lanes.get_mut(usize::from(self.last)) {
            Some(last) if self.turn != NOWHERE => last.next = at as u16,
            _ => self.turn = at as u16,
        }
        self.last = at as u16;
    }

    /// The lane that the next frame comes from.
    #[inline(always)]
    fn select(&mut self) -> Option<usize> {
        let at = usize::from(self.turn);
        let lane = self.lanes.get(at)?;
        if lane.first != NOWHERE && lane.credit > 0 { Some(at) } else { self.pass_on() }
    }

    /// Passes the turn on to the next lane that has something and may send it.
    #[inline(never)]
    fn pass_on(&mut self) -> Option<usize> {
        loop {
            let at = usize::from(self.turn);
            let lane = self.lanes.get_mut(at)?;
            let next = lane.next;
            if lane.first == NOWHERE {
                self.round = self.round.wrapping_add(lane.rounds_alone());
                // What it did not use is gone, what it owes is not.
                lane.credit = lane.credit.min(0);
                lane.round = self.round;
                lane.standing = LaneState::Absent;
                self.turn = next;
                continue;
            }
            if lane.credit > 0 {
                return Some(at);
            }
            if lane.round == self.round || next == NOWHERE {
                self.round = self.round.wrapping_add(1);
            }
            lane.round = self.round;
            if next == NOWHERE {
                // Whoever is alone owes nobody.
                lane.credit = ALONE;
                return Some(at);
            }
            lane.credit = lane.credit.saturating_add(QUANTUM);
            self.turn = next;
            self.append(at);
        }
    }

    /// The frame whose turn it is.
    pub fn front(&mut self) -> Option<&Frame> {
        let at = self.select()?;
        let first = self.lanes.get(at)?.first;
        self.places.get(usize::from(first))?.frame.as_ref()
    }

    /// Takes the frame whose turn it is, if it is `wanted`.
    #[inline(always)]
    pub fn pop_if(&mut self, wanted: impl FnOnce(&Frame) -> bool) -> Option<Frame> {
        let at = self.select()?;
        let frame = self.take_first(at, wanted)?;
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.credit -= frame.bytes() as i32;
        }
        Some(frame)
    }

    /// Takes the oldest frame of a lane, whose turn this need not be, if it is `wanted`.
    #[inline(always)]
    fn take_first(&mut self, at: usize, wanted: impl FnOnce(&Frame) -> bool) -> Option<Frame> {
        let lane = self.lanes.get_mut(at)?;
        let here = lane.first;
        let place = self.places.get_mut(usize::from(here))?;
        let frame = place.frame.take_if(|frame| wanted(frame))?;
        lane.first = core::mem::replace(&mut place.next, self.free);
        self.free = here;
        let pages = frame.segments().len();
        lane.pages -= pages as u16;
        self.pages -= pages;
        Some(frame)
    }

    /// The oldest frame of each account.
    pub fn oldest(&self) -> impl Iterator<Item = &Frame> {
        let frame = |lane: &Lane| self.places.get(usize::from(lane.first))?.frame.as_ref();
        self.lanes.iter().filter_map(frame)
    }

    /// Takes an account's oldest frame, whose turn this need not be, if it is `wanted`.
    #[cold]
    pub fn take_oldest_if(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        (0..Account::COUNT).find_map(|at| self.take_first(at, &wanted))
    }

    /// Takes the oldest frame of the lane that holds most; `None` if lane `newcomer` holds as much.
    #[cold]
    fn make_way(&mut self, newcomer: usize) -> Option<Frame> {
        let mut most = (self.lanes.get(newcomer)?.pages, None);
        let mut at = usize::from(self.turn);
        while let Some(lane) = self.lanes.get(at) {
            if lane.pages > most.0 {
                most = (lane.pages, Some(at));
            }
            at = usize::from(lane.next);
        }
        self.take_first(most.1?, |_| true)
    }

    /// Gives up on everything that waits.
    pub fn release(mut self, pages: &mut PagePool) {
        while let Some(frame) = self.pop_if(|_| true) {
            frame.release(pages);
        }
    }
}

#[cfg(test)]
#[path = "fair_queue_tests.rs"]
mod tests;
