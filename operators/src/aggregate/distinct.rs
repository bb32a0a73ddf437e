//! `COUNT(DISTINCT x)`, `SUM(DISTINCT x)` and the like: each value of a group reaches the plain aggregate once.
//!
//! The seen values are kept row-encoded with how often each was seen, one map a group: their memory grows with the
//! distinct values of a window (or of a key), and goes with it. A value leaves when it was taken back as often.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray};
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use millstream_engine::keys::hash_bytes;
use millstream_engine::{Error, Result};

use super::{Accumulator, for_each_row, same};

/// xxh3 behind std's interface: SipHash has no place on the data path.
#[derive(Default)]
struct BytesHasher(u64);
impl Hasher for BytesHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(23) ^ hash_bytes(bytes);
    }
}

type Values = HashMap<Box<[u8]>, i64, BuildHasherDefault<BytesHasher>>;

/// Adds `times` occurrences of `value`. True when it was not there.
fn add(values: &mut Values, value: &[u8], times: i64) -> bool {
    if let Some(known) = values.get_mut(value) {
        *known += times;
        return false;
    }
    values.insert(value.into(), times);
    true
}

pub(super) struct Distinct {
    plain: Box<dyn Accumulator>,
    argument: DataType,
    converter: RowConverter,
    seen: Vec<Values>,
}

impl Distinct {
    pub(super) fn new(plain: Box<dyn Accumulator>, argument: &DataType) -> Result<Self> {
        let argument = plain.input_type().unwrap_or_else(|| argument.clone());
        let converter = RowConverter::new(vec![SortField::new(argument.clone())])?;
        Ok(Self { plain, argument, converter, seen: Vec::new() })
    }
}

impl Accumulator for Distinct {
    fn input_type(&self) -> Option<DataType> {
        Some(self.argument.clone())
    }
    fn resize(&mut self, groups: usize) {
        self.plain.resize(groups);
        self.seen.resize_with(groups, Values::default);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("DISTINCT without an argument")) };
        let rows = self.converter.convert_columns(std::slice::from_ref(column))?;
        let mut first = vec![false; groups.len()];
        let seen = &mut self.seen;
        for_each_row(groups.len(), Some(column), filter, |row| {
            first[row] = add(&mut seen[groups[row] as usize], rows.row(row).as_ref(), 1);
        });
        self.plain.update(groups, Some(column), Some(&BooleanArray::from(first)))
    }
    fn retract(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("DISTINCT without an argument")) };
        let rows = self.converter.convert_columns(std::slice::from_ref(column))?;
        let mut last = vec![false; groups.len()];
        let seen = &mut self.seen;
        for_each_row(groups.len(), Some(column), filter, |row| {
            let (values, value) = (&mut seen[groups[row] as usize], rows.row(row));
            if let Some(times) = values.get_mut(value.as_ref()) {
                *times -= 1;
                last[row] = *times == 0;
            }
            if last[row] {
                values.remove(value.as_ref());
            }
        });
        self.plain.retract(groups, Some(column), Some(&BooleanArray::from(last)))
    }
    fn takes_back(&self) -> bool {
        self.plain.takes_back()
    }
    fn reset(&mut self, group: usize) {
        self.plain.reset(group);
        self.seen[group].clear();
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        let all: Vec<u32> = (0..other.seen.len() as u32).collect();
        if let Ok(columns) = other.state(&all) {
            // The same type on both sides, so this cannot fail.
            let _ = self.merge_state(groups, &columns);
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }
    /// Per group, its values one after the other, each with how often it was seen (8 bytes) and its length (4 bytes,
    /// little endian) in front. Sorted, so that the same map is the same bytes.
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut column = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for group in groups {
            bytes.clear();
            let mut values: Vec<_> = self.seen[*group as usize].iter().collect();
            values.sort_unstable();
            for (value, times) in values {
                bytes.extend_from_slice(&times.to_le_bytes());
                bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend_from_slice(value);
            }
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let sets = columns[0].as_binary::<i32>();
        let parser = self.converter.parser();
        let (mut targets, mut rows) = (Vec::new(), Vec::new());
        for (row, group) in groups.iter().enumerate() {
            let mut rest = sets.value(row);
            while let Some((head, tail)) = rest.split_first_chunk::<12>() {
                let times = i64::from_le_bytes(std::array::from_fn(|at| head[at]));
                let len = u32::from_le_bytes(std::array::from_fn(|at| head[8 + at])) as usize;
                let Some((value, after)) = tail.split_at_checked(len) else {
                    return Err(Error::state("a map of distinct values is cut short"));
                };
                if add(&mut self.seen[*group as usize], value, times) {
                    targets.push(*group);
                    rows.push(parser.parse(value));
                }
                rest = after;
            }
        }
        if targets.is_empty() {
            return Ok(());
        }
        let values = self.converter.convert_rows(rows)?;
        self.plain.update(&targets, values.first(), None)
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.plain.evaluate(groups)
    }
    fn clear(&mut self) {
        self.plain.clear();
        self.seen.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        // The type was accepted when this one was made.
        match Self::new(self.plain.fresh(), &self.argument) {
            Ok(fresh) => Box::new(fresh),
            Err(_) => self.plain.fresh(),
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
