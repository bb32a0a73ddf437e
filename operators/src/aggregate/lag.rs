//! `LAG(x, n)`: the value of n rows before. NULLs count as values.
//!
//! A group keeps the row-encoded values of its last n + 1 rows; the oldest is the answer once there are as many.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use arrow_select::take::take;
use millstream_engine::{Error, Result};

use super::{Accumulator, for_each_row, same};

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
    /// Per group, its values, oldest first, each with its length in front (4 bytes, little endian).
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut column = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for group in groups {
            bytes.clear();
            for value in &self.last[*group as usize] {
                bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend_from_slice(value);
            }
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let lists = columns[0].as_binary::<i32>();
        for (row, group) in groups.iter().enumerate() {
            let mut rest = lists.value(row);
            while let Some((head, tail)) = rest.split_first_chunk::<4>() {
                let Some((value, after)) = tail.split_at_checked(u32::from_le_bytes(*head) as usize) else {
                    return Err(Error::state("a list of values is cut short"));
                };
                Self::push(&mut self.last[*group as usize], self.rows, value);
                rest = after;
            }
        }
        Ok(())
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let mut values = Vec::with_capacity(groups.len());
        let places: UInt32Array = groups
            .iter()
            .map(|group| {
                let last = &self.last[*group as usize];
                let value = last.front().filter(|_| last.len() > self.rows)?;
                values.push(parser.parse(value));
                Some(values.len() as u32 - 1)
            })
            .collect();
        if values.is_empty() {
            return Ok(new_null_array(&self.out, groups.len()));
        }
        Ok(take(&self.converter.convert_rows(values)?.swap_remove(0), &places, None)?)
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
