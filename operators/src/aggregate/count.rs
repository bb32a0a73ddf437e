//! `COUNT(*)` and `COUNT(x)`.

use std::any::Any;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow_schema::DataType;
use millstream_engine::Result;

use super::{Accumulator, for_each_row, same};

#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn input_type(&self) -> Option<DataType> {
        None
    }
    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let counts = &mut self.counts;
        let column = column.map(|column| column as &dyn Array);
        for_each_row(groups.len(), column, filter, |row| counts[groups[row] as usize] += 1);
        Ok(())
    }
    fn retract(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let counts = &mut self.counts;
        let column = column.map(|column| column as &dyn Array);
        for_each_row(groups.len(), column, filter, |row| counts[groups[row] as usize] -= 1);
        Ok(())
    }
    fn takes_back(&self) -> bool {
        true
    }
    fn reset(&mut self, group: usize) {
        self.counts[group] = 0;
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, count) in groups.iter().zip(&other.counts) {
            self.counts[*group as usize] += count;
        }
    }
    fn retract_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, count) in groups.iter().zip(&other.counts) {
            self.counts[*group as usize] -= count;
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (group, count) in groups.iter().zip(columns[0].as_primitive::<Int64Type>().values()) {
            self.counts[*group as usize] += count;
        }
        Ok(())
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| self.counts[*group as usize]))))
    }
    fn clear(&mut self) {
        self.counts.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Self::default())
    }
    fn is_invertible(&self) -> bool {
        true
    }
    fn is_order_insensitive(&self) -> bool {
        true
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
