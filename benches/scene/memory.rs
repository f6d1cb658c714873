//! What memory alone costs: the two places that a packet's flow is found by, in tables as large as the engine's.

/// A place in a table of heads, and the record it names.
pub struct Memory {
    heads: Vec<u32>,
    records: Vec<[u64; 8]>,
    at: u32,
}

impl Memory {
    /// Tables for `flows`.
    pub fn of(flows: u32) -> Memory {
        let records = vec![[0; 8]; flows as usize];
        let step = |n: u32| n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let named = |n: u32| ((u64::from(step(n)) * u64::from(flows)) >> 32) as u32;
        let heads = (0..flows.next_power_of_two() * 2).map(named).collect();
        Memory { heads, records, at: 1 }
    }

    /// Reads a head, and reads and changes its record; the next call waits for that, as packets wait for each other.
    pub fn touch(&mut self) {
        self.at = self.at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let head = (u64::from(self.at) * self.heads.len() as u64) >> 32;
        let record = &mut self.records[self.heads[head as usize] as usize];
        record[0] += 1;
        self.at = self.at.wrapping_add(record[7] as u32);
    }
}
