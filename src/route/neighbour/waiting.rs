//! Packets that wait for a next hop: in a line for each hop, counted in pages on their senders' accounts.

use super::bounded::{Admission, Bounded, Bounds, Item, ItemId};
use crate::base::bug::{OrBug, bug};
use crate::tables::share::Account;
use crate::tables::slab::{Ends, Links};
use alloc::boxed::Box;

/// Pages of the packets that may wait. A page holds 4 KiB at most, so this bounds bytes too: one sender may have as much
/// wait as Linux lets wait for one hop (`unres_qlen_bytes`, 212,992 as a rule), which takes the fragments of the largest
/// datagram there is.
pub const PAGES: Bounds = Bounds { total: 192, per_account: 48 };

/// A packet that can be made to wait.
pub trait Charged {
    /// On whose account it is: its sender's.
    fn account(&self) -> Account;

    /// Pages that it keeps from others.
    fn pages(&self) -> usize;
}

/// The number of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineId(pub usize);

/// A packet, and where it waits.
struct Waiter<P> {
    packet: P,
    line: LineId,
}

/// All lines.
pub struct WaitingPackets<P> {
    packets: Bounded<Waiter<P>>,
    lines: Box<[Ends<Item<Waiter<P>>>]>,
    links: Links<Item<Waiter<P>>>,
}

impl<P: Charged> WaitingPackets<P> {
    /// So many empty lines.
    pub fn new(lines: usize) -> Self {
        let lines = (0..lines).map(|_| Ends::EMPTY).collect();
        Self { packets: Bounded::new(PAGES), lines, links: Links::new(PAGES.total as usize) }
    }

    /// Pages that wait on `account`.
    pub fn pages(&self, account: Account) -> u32 {
        self.packets.held(account)
    }

    /// Puts `packet` at the end of a line. What has to make room for it is `displaced`; at worst itself.
    pub fn join(&mut self, line: LineId, packet: P, mut displaced: impl FnMut(P)) {
        let (account, pages) = (packet.account(), packet.pages().max(1) as u32);
        loop {
            match self.packets.room(account, pages) {
                Admission::There => break,
                Admission::Behind(place) => match self.leave(place) {
                    Some(packet) => displaced(packet),
                    None => return displaced(packet),
                },
                Admission::Never => return displaced(packet),
            }
        }
        match (self.packets.insert(account, pages, Waiter { packet, line }), self.lines.get_mut(line.0)) {
            (Ok(place), Some(ends)) => self.links.push(ends, place),
            (Ok(place), None) => {
                bug("a line that does not exist");
                self.packets.remove(place).into_iter().for_each(|waiter| displaced(waiter.packet));
            }
            (Err(waiter), _) => displaced(waiter.packet),
        }
    }

    /// Takes out whoever came first to a line.
    pub fn next(&mut self, line: LineId) -> Option<P> {
        let first = self.lines.get(line.0)?.first()?;
        self.leave(first)
    }

    /// Takes out whoever of `account` waits longest, in any line.
    pub fn next_of(&mut self, account: Account) -> Option<P> {
        let first = self.packets.first_of(account)?;
        self.leave(first)
    }

    fn leave(&mut self, place: ItemId<Waiter<P>>) -> Option<P> {
        let waiter = self.packets.remove(place)?;
        if let Some(ends) = self.lines.get_mut(waiter.line.0).or_bug("a line that does not exist") {
            self.links.remove(ends, place);
        }
        Some(waiter.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::side::ClientSlot;
    use std::vec::Vec;

    const ONE: Account = Account::client(ClientSlot(1));
    const TWO: Account = Account::client(ClientSlot(2));

    #[derive(Debug, PartialEq, Eq)]
    struct TestPacket(Account, usize, u32);

    impl Charged for TestPacket {
        fn account(&self) -> Account {
            self.0
        }

        fn pages(&self) -> usize {
            self.1
        }
    }

    fn join(waiting: &mut WaitingPackets<TestPacket>, line: usize, packet: TestPacket) -> Vec<u32> {
        let mut displaced = Vec::new();
        waiting.join(LineId(line), packet, |packet| displaced.push(packet.2));
        displaced
    }

    fn leave(waiting: &mut WaitingPackets<TestPacket>, line: usize) -> Vec<u32> {
        core::iter::from_fn(|| waiting.next(LineId(line))).map(|packet| packet.2).collect()
    }

    #[test]
    fn each_line_is_left_in_the_order_in_which_it_was_joined() {
        let mut waiting = WaitingPackets::new(2);
        for (line, number) in [(0, 1), (1, 2), (0, 3), (1, 4)] {
            assert_eq!(join(&mut waiting, line, TestPacket(ONE, 1, number)), []);
        }
        assert_eq!(leave(&mut waiting, 1), [2, 4]);
        assert_eq!(leave(&mut waiting, 0), [1, 3]);
        assert_eq!(waiting.pages(ONE), 0);
    }

    #[test]
    fn a_9_a_sender_s_oldest_packet_gives_way_wherever_it_waits() {
        let mut waiting = WaitingPackets::new(2);
        join(&mut waiting, 1, TestPacket(TWO, 18, 99));
        join(&mut waiting, 0, TestPacket(ONE, 18, 1));
        join(&mut waiting, 1, TestPacket(ONE, 18, 2));
        assert_eq!(join(&mut waiting, 1, TestPacket(ONE, 13, 3)), [1]);
        assert_eq!(waiting.pages(ONE), 31);
        assert_eq!(leave(&mut waiting, 0), []);
        assert_eq!(leave(&mut waiting, 1), [99, 2, 3]);
    }

    #[test]
    fn a_9_pages_that_wait_are_bounded_in_all() {
        let mut waiting = WaitingPackets::new(1);
        for client in 0..90 {
            (0..48).for_each(|number| {
                join(&mut waiting, 0, TestPacket(Account::client(ClientSlot(client)), 1, number));
            });
        }
        assert_eq!(leave(&mut waiting, 0).len(), 192);
    }
}
