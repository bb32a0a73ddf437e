//! `MIN`, `MAX`, `FIRST_VALUE`, `LAST_VALUE` over rows that can be taken back: every value of a group is kept.
//!
//! Extremes keep how often each value was seen, in order; first and last values keep the order of arrival, and a value
//! that is taken back is the oldest of its kind, as in Flink (MinWithRetract, FirstValueWithRetract). Values are kept
//! row-encoded: bytes compare as the values do. A group's memory grows with its values, and goes with them.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};

use arrow_array::{ArrayRef, BooleanArray};
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use millstream_engine::{Error, Result};

use super::{Accumulator, AggregateKind, for_each_row, lists, same};

/// The accumulator of `kind` with result type `out`.
pub(super) fn values(kind: &AggregateKind, out: &DataType) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Values::new(kind.clone(), out)?))
}

/// The values of a group.
#[derive(Debug, Default)]
struct Seen {
    /// The numbers of arrival of each value, oldest first.
    by_value: BTreeMap<Box<[u8]>, VecDeque<u64>>,
    /// The values in the order they came; for first and last values only.
    by_arrival: BTreeMap<u64, Box<[u8]>>,
    next: u64,
}

struct Values {
    kind: AggregateKind,
    out: DataType,
    converter: RowConverter,
    seen: Vec<Seen>,
}

impl Values {
    fn new(kind: AggregateKind, out: &DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(out.clone())])?;
        Ok(Self { kind, out: out.clone(), converter, seen: Vec::new() })
    }

    fn keeps_order(&self) -> bool {
        matches!(self.kind, AggregateKind::FirstValue | AggregateKind::LastValue)
    }
}

impl Seen {
    fn add(&mut self, value: &[u8], keeps_order: bool) {
        let number = self.next;
        self.next += 1;
        match self.by_value.get_mut(value) {
            Some(numbers) => numbers.push_back(number),
            None => {
                self.by_value.insert(value.into(), VecDeque::from([number]));
            }
        }
        if keeps_order {
            self.by_arrival.insert(number, value.into());
        }
    }

    fn take_back(&mut self, value: &[u8]) {
        let Some(numbers) = self.by_value.get_mut(value) else { return };
        if let Some(number) = numbers.pop_front() {
            self.by_arrival.remove(&number);
        }
        if numbers.is_empty() {
            self.by_value.remove(value);
        }
    }

    /// The value that is the answer now.
    fn picked(&self, kind: &AggregateKind) -> Option<&[u8]> {
        let picked = match kind {
            AggregateKind::Min => self.by_value.first_key_value().map(|(value, _)| value),
            AggregateKind::Max => self.by_value.last_key_value().map(|(value, _)| value),
            AggregateKind::FirstValue => self.by_arrival.first_key_value().map(|(_, value)| value),
            _ => self.by_arrival.last_key_value().map(|(_, value)| value),
        };
        picked.map(AsRef::as_ref)
    }
}

impl Accumulator for Values {
    fn input_type(&self) -> Option<DataType> {
        None
    }
    fn resize(&mut self, groups: usize) {
        self.seen.resize_with(groups, Seen::default);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("an aggregate without an argument")) };
        let rows = self.converter.convert_columns(std::slice::from_ref(column))?;
        let keeps_order = self.keeps_order();
        let seen = &mut self.seen;
        for_each_row(groups.len(), Some(column), filter, |row| {
            seen[groups[row] as usize].add(rows.row(row).as_ref(), keeps_order);
        });
        Ok(())
    }
    fn retract(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("an aggregate without an argument")) };
        let rows = self.converter.convert_columns(std::slice::from_ref(column))?;
        let seen = &mut self.seen;
        for_each_row(groups.len(), Some(column), filter, |row| {
            seen[groups[row] as usize].take_back(rows.row(row).as_ref());
        });
        Ok(())
    }
    fn takes_back(&self) -> bool {
        true
    }
    fn reset(&mut self, group: usize) {
        self.seen[group] = Seen::default();
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        let keeps_order = self.keeps_order();
        for (group, seen) in groups.iter().zip(&other.seen) {
            seen.in_order().for_each(|value| self.seen[*group as usize].add(value, keeps_order));
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }
    /// Per group, the list of its values in the order they came (extremes: in their own).
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![lists::write(groups, |group| self.seen[group].in_order())])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let keeps_order = self.keeps_order();
        let seen = &mut self.seen;
        lists::read(groups, &columns[0], |group, value| seen[group].add(value, keeps_order))
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let picked = groups.iter().map(|group| self.seen[*group as usize].picked(&self.kind));
        lists::decode(&self.converter, &self.out, picked)
    }
    fn clear(&mut self) {
        self.seen.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        match Self::new(self.kind.clone(), &self.out) {
            Ok(fresh) => Box::new(fresh),
            // The type was accepted when this one was made.
            Err(_) => Box::new(super::count::Count::default()),
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Seen {
    /// Every value, as often as it was seen, in the order that a new group has to see them in.
    fn in_order(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        if self.by_arrival.is_empty() {
            let times = |(value, numbers): (_, &VecDeque<u64>)| std::iter::repeat_n(value, numbers.len());
            return Box::new(self.by_value.iter().flat_map(times).map(AsRef::<[u8]>::as_ref));
        }
        Box::new(self.by_arrival.values().map(AsRef::as_ref))
    }
}
