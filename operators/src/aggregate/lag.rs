//! `LAG(x, n)`: the value of n rows before. NULLs count as values.
//!
//! A group keeps the row-encoded values of its last n + 1 rows; the oldest is the answer once there are as many.

use std::any::Any;
use std::collections::VecDeque;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use millstream_engine::{Error, Result};

use super::{Accumulator, for_each_row, lists, same};

pub(super) struct Lag {
    rows: usize,
    out: DataType,
    converter: RowConverter,
    last: Vec<VecDeque<Box<[u8]>>>,
}

impl Lag {
    pub(super) fn new(rows: usize, out: &DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(out.clone())])?;
        Ok(Self { rows, out: out.clone(), converter, last: Vec::new() })
    }

    fn push(last: &mut VecDeque<Box<[u8]>>, rows: usize, value: &[u8]) {
        // The oldest one's memory is used again: most values are of one length.
        if last.len() > rows
            && let Some(mut oldest) = last.pop_front()
        {
            if oldest.len() == value.len() {
                oldest.copy_from_slice(value);
            } else {
                oldest = value.into();
            }
            last.push_back(oldest);
            return;
        }
        last.push_back(value.into());
    }
}

impl Accumulator for Lag {
    fn input_type(&self) -> Option<DataType> {
        None
    }
    fn resize(&mut self, groups: usize) {
        self.last.resize_with(groups, VecDeque::new);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("LAG without an argument")) };
        let values = self.converter.convert_columns(std::slice::from_ref(column))?;
        let (last, rows) = (&mut self.last, self.rows);
        for_each_row(groups.len(), None, filter, |row| {
            Self::push(&mut last[groups[row] as usize], rows, values.row(row).as_ref());
        });
        Ok(())
    }
    fn reset(&mut self, group: usize) {
        self.last[group].clear();
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, values) in groups.iter().zip(&other.last) {
            values.iter().for_each(|value| Self::push(&mut self.last[*group as usize], self.rows, value));
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }
    /// Per group, the list of its values, oldest first.
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![lists::write(groups, |group| self.last[group].iter().map(AsRef::as_ref))])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (last, rows) = (&mut self.last, self.rows);
        lists::read(groups, &columns[0], |group, value| Self::push(&mut last[group], rows, value))
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let picked = groups.iter().map(|group| {
            let last = &self.last[*group as usize];
            last.front().filter(|_| last.len() > self.rows).map(AsRef::as_ref)
        });
        lists::decode(&self.converter, &self.out, picked)
    }
    fn clear(&mut self) {
        self.last.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        match Self::new(self.rows, &self.out) {
            Ok(fresh) => Box::new(fresh),
            // The type was accepted when this one was made.
            Err(_) => Box::new(super::count::Count::default()),
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
