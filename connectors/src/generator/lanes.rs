//! Which rows an instance makes, and how far it has come.
//!
//! Rows are dealt in blocks: block `b` belongs to instance `b % parallelism`. After a restore with another parallelism,
//! what former instances had left below a common border is finished as it was dealt (a leftover lane), and everything
//! above the border is dealt anew. Invariants: every row below the end is in exactly one lane of one instance; an
//! instance always takes its lowest row next, so its numbers rise.

use millstream_engine::{Error, Result};

/// Rows `next ..`, block by block, up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lane {
    next: u64,
    block: u64,
    /// From the first row of a block to the first row of this lane's next one.
    stride: u64,
    end: u64,
}

impl Lane {
    fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// How many rows follow each other without a gap.
    fn run(&self) -> u64 {
        (self.block - self.next % self.block).min(self.end.saturating_sub(self.next))
    }

    fn advance(&mut self, rows: u64) {
        self.next += rows;
        if self.next.is_multiple_of(self.block) {
            self.next = self.next.saturating_add(self.stride - self.block);
        }
    }
}

/// The lanes of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Lanes {
    main: Lane,
    leftovers: Vec<Lane>,
    instance: u64,
    parallelism: u64,
}

impl Lanes {
    /// The share of instance `instance` in rows 0 to `end - 1`, dealt in blocks of `block`.
    pub fn new(block: u64, end: u64, instance: usize, parallelism: usize) -> Self {
        let (block, parallelism) = (block.max(1), parallelism.max(1) as u64);
        let instance = instance as u64;
        let main = Lane { next: instance * block, block, stride: block * parallelism, end };
        Self { main, leftovers: Vec::new(), instance, parallelism }
    }

    /// The first of the next rows, and how many there are without a gap; none when all are made.
    pub fn peek(&self) -> Option<(u64, u64)> {
        let lanes = self.leftovers.iter().chain(std::iter::once(&self.main));
        lanes.filter(|lane| !lane.is_done()).min_by_key(|lane| lane.next).map(|lane| (lane.next, lane.run()))
    }

    /// `rows` of those that [`Lanes::peek`] named are made.
    pub fn advance(&mut self, rows: u64) {
        let lanes = self.leftovers.iter_mut().chain(std::iter::once(&mut self.main));
        if let Some(lane) = lanes.filter(|lane| !lane.is_done()).min_by_key(|lane| lane.next) {
            lane.advance(rows);
        }
        self.leftovers.retain(|lane| !lane.is_done());
    }

    /// The main lane first, then the leftovers: four numbers each, 8 bytes little endian.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        for lane in std::iter::once(&self.main).chain(&self.leftovers) {
            for number in [lane.next, lane.block, lane.stride, lane.end] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    /// Goes on from what all former instances wrote.
    ///
    /// # Errors
    /// If a position is cut short.
    pub fn restore<'a>(&mut self, positions: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let mut former = Vec::new();
        for position in positions {
            let lanes = read(position)
                .ok_or_else(|| Error::state("the position of a generated source is unreadable"))?;
            // A main lane goes as far as the source does now, which may be further than it was.
            former.extend(lanes.into_iter().enumerate().map(|(index, lane)| match index {
                0 => Lane { end: self.main.end, ..lane },
                _ => lane,
            }));
        }
        let Some(furthest) = former.iter().map(|lane| lane.next).max() else { return Ok(()) };
        let block = self.main.block;
        let border = furthest.div_ceil(block).saturating_mul(block);
        former.iter_mut().for_each(|lane| lane.end = lane.end.min(border));
        former.retain(|lane| !lane.is_done());
        // All instances see the same list; a fixed order deals it the same way everywhere.
        former.sort_by_key(|lane| (lane.next, lane.end));
        let mine = (self.instance as usize..former.len()).step_by(self.parallelism as usize);
        self.leftovers = mine.map(|index| former[index]).collect();
        self.main.next = border.saturating_add(self.instance * block);
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Lane>> {
    let (lanes, rest) = bytes.as_chunks::<32>();
    if lanes.is_empty() || !rest.is_empty() {
        return None;
    }
    let number = |lane: &[u8; 32], at: usize| {
        lane.get(8 * at..8 * at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    };
    lanes
        .iter()
        .map(|lane| {
            let lane = Lane {
                next: number(lane, 0)?,
                block: number(lane, 1)?,
                stride: number(lane, 2)?,
                end: number(lane, 3)?,
            };
            (lane.block > 0 && lane.stride >= lane.block).then_some(lane)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(lanes: &mut Lanes, rows: u64, into: &mut Vec<u64>) {
        if let Some((first, run)) = lanes.peek() {
            let rows = rows.min(run);
            into.extend(first..first + rows);
            lanes.advance(rows);
        }
    }

    fn written(lanes: &Lanes) -> Vec<u8> {
        let mut bytes = Vec::new();
        lanes.write(&mut bytes);
        bytes
    }

    /// Deals, interrupts at uneven points, deals again: every row once, rising in each instance.
    #[test]
    fn every_row_once_over_any_chain_of_restores() {
        for (parallelisms, blocks) in [
            ([1, 2, 1], [10, 10, 10]),
            ([3, 2, 5], [10, 7, 10]),
            ([2, 2, 2], [1, 1, 16]),
            ([4, 1, 3], [8, 8, 8]),
        ] {
            let mut all = Vec::new();
            let mut positions: Vec<Vec<u8>> = Vec::new();
            for (round, (parallelism, block)) in parallelisms.into_iter().zip(blocks).enumerate() {
                let mut next_positions = Vec::new();
                for instance in 0..parallelism {
                    let mut lanes = Lanes::new(block, 333, instance, parallelism);
                    lanes.restore(positions.iter().map(Vec::as_slice)).unwrap();
                    let mut taken = Vec::new();
                    let polls = if round == 2 { 1_000 } else { 3 + 5 * instance };
                    for _ in 0..polls {
                        take(&mut lanes, 4, &mut taken);
                    }
                    assert!(taken.is_sorted());
                    all.extend(taken);
                    next_positions.push(written(&lanes));
                }
                positions = next_positions;
            }
            all.sort_unstable();
            assert_eq!(all, (0..333).collect::<Vec<_>>(), "{parallelisms:?} {blocks:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut lanes = Lanes::new(10, 100, 0, 1);
        assert!(lanes.restore([&[1_u8, 2, 3][..]].into_iter()).is_err());
        assert!(lanes.restore([&[0_u8; 32][..]].into_iter()).is_err());
    }
}
