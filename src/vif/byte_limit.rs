//! How many bytes lie in the uplink's ring: as many as its backend takes between two turns of ours, and no more.
//!
//! What is in the ring cannot be overtaken. A deep ring full of one client's packets would delay everybody else's by
//! as much as the uplink takes to send them all, so what waits does so in [lanes](super::fair_queue). As Linux's byte
//! queue limits (`lib/dynamic_queue_limits.c`): whenever the backend ran out of work although frames waited, the limit
//! was too low; what was always left when we came to look is more than is needed.

/// Always allowed: two packets of the usual MTU, one on its way and one behind it.
const LEAST: u32 = 2 * 1514;

/// Always enough: every slot of the ring filled.
const MOST: u32 = 256 * 4096;

/// Looks that found bytes left before the limit is lowered.
const LOOKS: u8 = 16;

/// The limit, and what is in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteLimit {
    limit: u32,
    /// Bytes granted to the backend and not answered.
    granted: u32,
    /// Bytes answered since the last look.
    answered: u32,
    /// Fewest bytes that were left at a look since the limit was last changed.
    left: u32,
    looks: u8,
    starved: Starved,
}

/// Whether frames had to wait for the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starved {
    Nothing,
    Frames,
}

impl Default for ByteLimit {
    fn default() -> Self {
        let limit = 64 << 10;
        Self { limit, granted: 0, answered: 0, left: u32::MAX, looks: 0, starved: Starved::Nothing }
    }
}

impl ByteLimit {
    /// Whether another frame may be granted. One of any size may, while the ring holds less than the limit.
    pub fn has_room(&self) -> bool {
        self.granted < self.limit
    }

    /// Bytes were granted to the backend.
    pub fn grant(&mut self, bytes: u16) {
        self.granted += u32::from(bytes);
    }

    /// Takes back a grant of bytes whose request was never published.
    pub fn withdraw(&mut self, bytes: u16) {
        self.granted -= u32::from(bytes);
    }

    /// The backend is done with bytes that were granted.
    pub fn answer(&mut self, bytes: u16) {
        self.granted -= u32::from(bytes);
        self.answered += u32::from(bytes);
    }

    /// Frames wait although the ring has slots.
    pub fn hold(&mut self) {
        self.starved = Starved::Frames;
    }

    /// Adapts the limit to what was answered since the last look.
    pub fn look(&mut self) {
        let answered = core::mem::take(&mut self.answered);
        if answered == 0 || core::mem::replace(&mut self.starved, Starved::Nothing) == Starved::Nothing {
            return;
        }
        if self.granted == 0 {
            self.limit = self.limit.saturating_add(answered).min(MOST);
            (self.left, self.looks) = (u32::MAX, 0);
            return;
        }
        self.left = self.left.min(self.granted);
        self.looks += 1;
        if self.looks == LOOKS {
            // By half of what was left: how long it takes to wake us varies.
            self.limit = self.limit.saturating_sub(self.left / 2).max(LEAST);
            (self.left, self.looks) = (u32::MAX, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u16 = 1500;

    /// Fills the ring as far as it may be, with frames to spare; how many packets went in.
    fn fill(limit: &mut ByteLimit) -> u32 {
        let before = limit.granted;
        while limit.has_room() {
            limit.grant(PACKET);
        }
        limit.hold();
        (limit.granted - before) / u32::from(PACKET)
    }

    fn answer(limit: &mut ByteLimit, packets: u32) {
        (0..packets).for_each(|_| limit.answer(PACKET));
        limit.look();
    }

    #[test]
    fn s_5_a_slow_backend_has_a_few_packets_in_its_ring() {
        let mut limit = ByteLimit::default();
        fill(&mut limit);
        // One packet at a time: we are there before the next one is sent.
        for _ in 0..1000 {
            answer(&mut limit, 1);
            fill(&mut limit);
        }
        assert!(limit.granted <= 3 * u32::from(PACKET), "{limit:?}");
    }

    #[test]
    fn s_5_a_backend_that_runs_out_of_work_gets_more() {
        let mut limit = ByteLimit::default();
        let mut packets = fill(&mut limit);
        // It empties the ring however full it is, up to 150 packets between two looks.
        for _ in 0..10 {
            answer(&mut limit, packets.min(150));
            packets = fill(&mut limit);
        }
        assert!(limit.granted >= 150 * u32::from(PACKET), "{limit:?}");
        assert!(limit.limit <= MOST);
    }

    #[test]
    fn limit_stays_where_nothing_had_to_wait_for_it() {
        let mut limit = ByteLimit::default();
        for _ in 0..1000 {
            limit.grant(PACKET);
            answer(&mut limit, 1);
        }
        assert_eq!(limit, ByteLimit::default());
    }
}
