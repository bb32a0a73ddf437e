//! Which numbers are done with: all up to one, and ranges above it.
//!
//! Invariants: ranges neither touch nor overlap, and all lie above `low + 1`; so they are few where things are done more or
//! less in order, however many there are. A checkpoint holds them (ledger.rs).

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};

/// See the module's page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Done up to here.
    low: u64,
    /// First to last.
    above: BTreeMap<u64, u64>,
    /// Numbers in `above`.
    count: u64,
}

impl Marks {
    /// All up to this number are done.
    pub fn low(&self) -> u64 {
        self.low
    }

    /// How many of those up to `last` are not done.
    pub fn pending(&self, last: u64) -> u64 {
        last.saturating_sub(self.low + self.count)
    }

    /// Whether `number` is done.
    #[cfg(test)]
    pub fn contains(&self, number: u64) -> bool {
        number <= self.low || self.above.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    /// Marks all from `first` to `last`.
    pub fn mark(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first.max(self.low + 1), last);
        if first > last {
            return;
        }
        while let Some((&from, &to)) = self.above.range(..=last.saturating_add(1)).next_back() {
            if to.saturating_add(1) < first {
                break;
            }
            (first, last) = (first.min(from), last.max(to));
            self.above.remove(&from);
            self.count -= to - from + 1;
        }
        if first == self.low + 1 {
            self.low = last;
        } else {
            self.above.insert(first, last);
            self.count += last - first + 1;
        }
    }

    /// The ranges up to `last` that are not done, in order.
    pub fn gaps(&self, last: u64) -> Vec<(u64, u64)> {
        let (mut gaps, mut from) = (Vec::new(), self.low + 1);
        for (first, end) in &self.above {
            gaps.push((from, first - 1));
            from = end + 1;
        }
        gaps.push((from, u64::MAX));
        gaps.into_iter().map(|(from, to)| (from, to.min(last))).filter(|(from, to)| from <= to).collect()
    }

    /// Writes it.
    pub fn encode(&self, to: &mut Vec<u8>) {
        to.put_u64_le(self.low);
        to.put_u32_le(self.above.len() as u32);
        for (first, last) in &self.above {
            to.put_u64_le(*first);
            to.put_u64_le(*last);
        }
    }

    /// Reads what [`Marks::encode`] wrote.
    pub fn decode(from: &mut &[u8]) -> Option<Self> {
        let mut marks = Self { low: from.try_get_u64_le().ok()?, ..Self::default() };
        for _ in 0..from.try_get_u32_le().ok()? {
            let (first, last) = (from.try_get_u64_le().ok()?, from.try_get_u64_le().ok()?);
            if first > last {
                return None;
            }
            marks.mark(first, last);
        }
        Some(marks)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::disk::simulated::Random;

    #[test]
    fn marks_are_what_a_set_would_be() {
        for seed in 0..200 {
            let (mut random, mut marks, mut set) = (Random(seed), Marks::default(), BTreeSet::new());
            for _ in 0..60 {
                let first = 1 + random.below(80);
                let last = first + random.below(4);
                marks.mark(first, last);
                set.extend(first..=last);
                let gaps: BTreeSet<u64> =
                    marks.gaps(90).into_iter().flat_map(|(from, to)| from..=to).collect();
                let missing: BTreeSet<u64> = (1..=90).filter(|number| !set.contains(number)).collect();
                assert_eq!(gaps, missing, "seed {seed}");
                assert_eq!(marks.pending(90), missing.len() as u64);
                assert!((1..=90).all(|number| marks.contains(number) == set.contains(&number)));
                assert_eq!(marks.low() + 1, (1..).find(|number| !set.contains(number)).unwrap());
            }
            let mut bytes = Vec::new();
            marks.encode(&mut bytes);
            assert_eq!(Marks::decode(&mut bytes.as_slice()), Some(marks));
            assert_eq!(Marks::decode(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
