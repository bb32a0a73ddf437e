//! `APPROX_COUNT_DISTINCT(x)`: how many different values, to within some per cent, in bounded memory.
//!
//! Up to [`EXACT_MAX`] values of a group are kept as their hashes, and the count is exact; above, 2^14 registers of a
//! HyperLogLog say it with a standard error of 0.8 %. Registers are maxima, so the answer depends neither on the order of
//! values nor on how groups are merged. State is bytes with a version in front. The estimate is Ertl's, which needs no
//! tables of corrections (New cardinality estimation algorithms for HyperLogLog sketches, 2017).

use std::any::Any;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array};
use arrow_schema::DataType;
use millstream_engine::keys::KeyHasher;
use millstream_engine::{Error, Result};

use super::{Accumulator, for_each_row, same, versioned};

/// Values up to which the count is exact.
const EXACT_MAX: usize = 1_024;
/// Bits of a hash that choose its register.
const REGISTER_BITS: u32 = 14;
const REGISTERS: usize = 1 << REGISTER_BITS;
/// The greatest value of a register: one more than the bits that are left can have leading zeros.
const RANK_MAX: usize = 64 - REGISTER_BITS as usize + 1;

/// The version of the bytes, and what follows.
const VERSION: u8 = 1;
const HASHES: u8 = 0;
const DENSE: u8 = 1;

/// The different values of a group.
#[derive(Debug)]
enum Values {
    /// Their hashes, sorted.
    Few(Vec<u64>),
    /// By register the highest rank, and how many registers have each.
    Many { registers: Box<[u8; REGISTERS]>, ranks: [u32; RANK_MAX + 1] },
}

impl Default for Values {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Values {
    fn many() -> Self {
        let mut ranks = [0; RANK_MAX + 1];
        ranks[0] = REGISTERS as u32;
        Self::Many { registers: Box::new([0; REGISTERS]), ranks }
    }

    fn add(&mut self, hash: u64) {
        match self {
            Self::Few(hashes) => {
                let Err(at) = hashes.binary_search(&hash) else { return };
                if hashes.len() < EXACT_MAX {
                    hashes.insert(at, hash);
                    return;
                }
                let few = std::mem::take(hashes);
                *self = Self::many();
                few.into_iter().chain([hash]).for_each(|hash| self.add(hash));
            }
            Self::Many { .. } => {
                let rank = (hash << REGISTER_BITS).leading_zeros().min(RANK_MAX as u32 - 1) + 1;
                self.raise((hash >> (64 - REGISTER_BITS)) as usize, rank as u8);
            }
        }
    }

    fn raise(&mut self, register: usize, rank: u8) {
        let Self::Many { registers, ranks } = self else { return };
        let known = &mut registers[register];
        if rank > *known {
            ranks[usize::from(*known)] -= 1;
            ranks[usize::from(rank)] += 1;
            *known = rank;
        }
    }

    fn merge(&mut self, other: &Self) {
        match other {
            Self::Few(hashes) => hashes.iter().for_each(|hash| self.add(*hash)),
            Self::Many { registers, .. } => self.merge_registers(registers.as_slice()),
        }
    }

    fn merge_registers(&mut self, other: &[u8]) {
        if let Self::Few(hashes) = self {
            let few = std::mem::take(hashes);
            *self = Self::many();
            few.into_iter().for_each(|hash| self.add(hash));
        }
        for (register, rank) in other.iter().enumerate() {
            self.raise(register, *rank);
        }
    }

    fn count(&self) -> i64 {
        match self {
            Self::Few(hashes) => hashes.len() as i64,
            Self::Many { ranks, .. } => estimate(ranks).round() as i64,
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Few(hashes) => {
                bytes.push(HASHES);
                hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.to_le_bytes()));
            }
            Self::Many { registers, .. } => {
                bytes.push(DENSE);
                bytes.extend_from_slice(registers.as_slice());
            }
        }
    }

    /// Adds what [`Values::write`] wrote.
    fn merge_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        match bytes.split_first()? {
            (&HASHES, bytes) => {
                let (hashes, []) = bytes.as_chunks::<8>() else { return None };
                hashes.iter().for_each(|hash| self.add(u64::from_le_bytes(*hash)));
            }
            (&DENSE, registers)
                if registers.len() == REGISTERS
                    && registers.iter().all(|rank| usize::from(*rank) <= RANK_MAX) =>
            {
                self.merge_registers(registers);
            }
            _ => return None,
        }
        Some(())
    }
}

/// How many values make registers with these ranks.
fn estimate(ranks: &[u32; RANK_MAX + 1]) -> f64 {
    let registers = REGISTERS as f64;
    let mut sum = registers * tau(1.0 - f64::from(ranks[RANK_MAX]) / registers);
    for count in ranks[1..RANK_MAX].iter().rev() {
        sum = 0.5 * (sum + f64::from(*count));
    }
    sum += registers * sigma(f64::from(ranks[0]) / registers);
    registers * registers / (2.0 * std::f64::consts::LN_2 * sum)
}

/// What registers without a value add.
fn sigma(share: f64) -> f64 {
    let (mut power, mut weight, mut sum) = (share, 1.0, share);
    if share >= 1.0 {
        return f64::INFINITY;
    }
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// What registers at the highest rank add.
fn tau(share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (share, 1.0, 1.0 - share);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

/// See the module's page.
pub(super) struct ApproxDistinct {
    argument: DataType,
    hasher: KeyHasher,
    hashes: Vec<u64>,
    groups: Vec<Values>,
}

impl ApproxDistinct {
    pub fn new(argument: &DataType) -> Result<Self> {
        let hasher = KeyHasher::new(std::slice::from_ref(argument))?;
        Ok(Self { argument: argument.clone(), hasher, hashes: Vec::new(), groups: Vec::new() })
    }
}

impl Accumulator for ApproxDistinct {
    fn input_type(&self) -> Option<DataType> {
        None
    }
    fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Values::default);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("a count without an argument")) };
        self.hasher.hash(std::slice::from_ref(column), groups.len(), &mut self.hashes)?;
        let (values, hashes) = (&mut self.groups, &self.hashes);
        for_each_row(groups.len(), Some(column), filter, |row| values[groups[row] as usize].add(hashes[row]));
        Ok(())
    }
    fn reset(&mut self, group: usize) {
        self.groups[group] = Values::default();
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, from) in groups.iter().zip(&other.groups) {
            self.groups[*group as usize].merge(from);
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![versioned::write(groups, VERSION, |group, bytes| self.groups[group].write(bytes))])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let kept = &mut self.groups;
        versioned::merge(groups, &columns[0], VERSION, "APPROX_COUNT_DISTINCT", |group, bytes| {
            kept[group].merge_bytes(bytes)
        })
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let counts = groups.iter().map(|group| self.groups[*group as usize].count());
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }
    fn clear(&mut self) {
        self.groups.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        match Self::new(&self.argument) {
            Ok(fresh) => Box::new(fresh),
            // The type was accepted when this one was made.
            Err(_) => Box::new(super::count::Count::default()),
        }
    }
    fn is_order_insensitive(&self) -> bool {
        true
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_engine::keys::hash_u64;

    fn of(values: std::ops::Range<u64>) -> Values {
        let mut found = Values::default();
        values.for_each(|value| found.add(hash_u64(value)));
        found
    }

    fn bytes(values: &Values) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.write(&mut bytes);
        bytes
    }

    #[test]
    fn few_are_exact_and_many_within_three_standard_errors() {
        for count in [0, 1, 1_000, 1_024] {
            assert_eq!(of(0..count).count(), count as i64);
        }
        let mut errors = Vec::new();
        for seed in 0..20_u64 {
            for count in [1_025, 3_000, 10_000, 40_000, 100_000, 500_000] {
                let found = of(seed << 32..(seed << 32) + count).count() as f64;
                errors.push(found / count as f64 - 1.0);
            }
        }
        let square = errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64;
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        assert!(square.sqrt() < 0.009 && mean.abs() < 0.002, "{square} {mean}");
        assert!(errors.iter().all(|error| error.abs() < 0.03), "{errors:?}");
    }

    #[test]
    fn parts_come_to_the_same_in_any_order() {
        for (one, other) in
            [(0..300, 200..900), (0..900, 800..1_500), (0..5_000, 4_000..4_010), (0..5, 0..9_000)]
        {
            let whole = bytes(&of(one.start..other.end.max(one.end)));
            for (first, second) in [(&one, &other), (&other, &one)] {
                let mut merged = of(first.clone());
                merged.merge(&of(second.clone()));
                assert_eq!(bytes(&merged), whole);
                let mut read = of(first.clone());
                read.merge_bytes(&bytes(&of(second.clone()))).unwrap();
                assert_eq!(bytes(&read), whole);
            }
        }
        let mut broken = Values::default();
        assert!(broken.merge_bytes(&[DENSE, 1, 2]).is_none() && broken.merge_bytes(&[HASHES, 1]).is_none());
        assert!(broken.merge_bytes(&[&[DENSE][..], &[200; REGISTERS]].concat()).is_none());
        assert!(broken.merge_bytes(&[]).is_none() && broken.merge_bytes(&[9]).is_none());
    }
}
