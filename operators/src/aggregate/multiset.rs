//! `COLLECT(x)`: how often each value of a group was seen, as a map. NULL is left out.
//!
//! Values are kept row-encoded, in order, each once with its count: memory grows with the different values of a group, and goes
//! with them. A value that was taken back as often as it came leaves. A group without values has an empty map.
//! Flink: CollectAggFunction.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int32Array, MapArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Field, Fields};
use millstream_engine::{Error, Result};

use super::{Accumulator, for_each_row, same, versioned};

/// The version of a group's bytes: per value its count (8 bytes), its length (4 bytes, little endian), itself.
const VERSION: u8 = 1;

/// `MAP<item, INT>`
pub(super) fn output_type(item: &DataType) -> DataType {
    let entry = Fields::from(vec![
        Field::new("key", item.clone(), false),
        Field::new("value", DataType::Int32, true),
    ]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

/// The values of a group with how often each was seen, which is not 0.
type Counts = BTreeMap<Box<[u8]>, i64>;

fn add(counts: &mut Counts, value: &[u8], times: i64) {
    match counts.get_mut(value) {
        Some(known) if *known + times == 0 => {
            counts.remove(value);
        }
        Some(known) => *known += times,
        None if times == 0 => {}
        None => {
            counts.insert(value.into(), times);
        }
    }
}

/// See the module's page.
pub(super) struct Multiset {
    argument: DataType,
    converter: RowConverter,
    groups: Vec<Counts>,
}

impl Multiset {
    pub fn new(argument: &DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(argument.clone())])?;
        Ok(Self { argument: argument.clone(), converter, groups: Vec::new() })
    }

    fn each(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
        times: i64,
    ) -> Result<()> {
        let column = column.ok_or_else(|| Error::internal("COLLECT without an argument"))?;
        let rows = self.converter.convert_columns(std::slice::from_ref(column))?;
        let kept = &mut self.groups;
        for_each_row(groups.len(), Some(column), filter, |row| {
            add(&mut kept[groups[row] as usize], rows.row(row).data(), times);
        });
        Ok(())
    }
}

impl Accumulator for Multiset {
    fn input_type(&self) -> Option<DataType> {
        None
    }
    fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Counts::new);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.each(groups, column, filter, 1)
    }
    fn retract(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.each(groups, column, filter, -1)
    }
    fn takes_back(&self) -> bool {
        true
    }
    fn reset(&mut self, group: usize) {
        self.groups[group] = Counts::new();
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, counts) in groups.iter().zip(&other.groups) {
            for (value, times) in counts {
                add(&mut self.groups[*group as usize], value, *times);
            }
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![versioned::write(groups, VERSION, |group, bytes| {
            for (value, times) in &self.groups[group] {
                bytes.extend_from_slice(&times.to_le_bytes());
                bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend_from_slice(value);
            }
        })])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let kept = &mut self.groups;
        versioned::merge(groups, &columns[0], VERSION, "COLLECT", |group, mut rest| {
            while !rest.is_empty() {
                let (times, tail) = rest.split_first_chunk::<8>()?;
                let (len, tail) = tail.split_first_chunk::<4>()?;
                let (value, tail) = tail.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                add(&mut kept[group], value, i64::from_le_bytes(*times));
                rest = tail;
            }
            Some(())
        })
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let of = |group: &u32| self.groups[*group as usize].iter().filter(|(_, times)| **times > 0);
        let offsets = OffsetBuffer::from_lengths(groups.iter().map(|group| of(group).count()));
        let parser = self.converter.parser();
        let rows = groups.iter().flat_map(of).map(|(value, _)| parser.parse(value));
        let keys = self.converter.convert_rows(rows)?.swap_remove(0);
        let counts = groups.iter().flat_map(of).map(|(_, times)| i32::try_from(*times).unwrap_or(i32::MAX));
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values(counts));
        let DataType::Map(entries, is_sorted) = output_type(&self.argument) else {
            return Err(Error::internal("COLLECT gives a MAP"));
        };
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(Error::internal("a MAP has entries"));
        };
        let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
        Ok(Arc::new(MapArray::try_new(entries, offsets, pairs, None, is_sorted)?))
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
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::StringArray;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;

    fn shown(counts: &dyn Accumulator, group: u32) -> Vec<(String, i32)> {
        let found = counts.evaluate(&[group]).unwrap();
        let map = found.as_map();
        let keys = map.keys().as_string::<i32>().iter().map(|key| key.unwrap().to_owned());
        keys.zip(map.values().as_primitive::<Int32Type>().values().iter().copied()).collect()
    }

    #[test]
    fn values_are_counted_and_taken_back() {
        let mut counts = Multiset::new(&DataType::Utf8).unwrap();
        counts.resize(2);
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("b")]));
        counts.update(&[0, 0, 0, 0], Some(&column), None).unwrap();
        assert_eq!(shown(&counts, 0), [("a".into(), 1), ("b".into(), 2)]);
        assert!(shown(&counts, 1).is_empty());
        let mut copy = counts.fresh();
        copy.resize(2);
        copy.merge_state(&[1], &counts.state(&[0]).unwrap()).unwrap();
        copy.merge_from(&counts, &[1, 0]);
        assert_eq!(shown(copy.as_ref(), 1), [("a".into(), 2), ("b".into(), 4)]);
        counts.retract(&[0, 0], Some(&column.slice(2, 2)), None).unwrap();
        assert_eq!(shown(&counts, 0), [("b".into(), 1)]);
        assert!(
            counts.merge_state(&[0], &[Arc::new(arrow_array::BinaryArray::from_vec(vec![&[1, 0]]))]).is_err()
        );
    }
}
