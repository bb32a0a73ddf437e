//! `VAR_POP`, `VAR_SAMP`, `STDDEV_POP`, `STDDEV_SAMP`: from the sum, the sum of squares and the count, as Flink's planner
//! reduces them (AggregateReduceFunctionsRule), so that the last digits agree too.

use std::any::Any;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array};
use arrow_schema::DataType;
use millstream_engine::{Error, Result};

use crate::kept_type::as_type;

use super::{Accumulator, AggregateKind, for_each_value, same};

pub(super) struct Variance {
    kind: AggregateKind,
    out: DataType,
    sums: Vec<f64>,
    squares: Vec<f64>,
    counts: Vec<i64>,
}

impl Variance {
    pub(super) fn new(kind: AggregateKind, out: DataType) -> Self {
        Self { kind, out, sums: Vec::new(), squares: Vec::new(), counts: Vec::new() }
    }

    fn result(&self, group: usize) -> Option<f64> {
        let (sum, squares, count) = (self.sums[group], self.squares[group], self.counts[group] as f64);
        let sample = matches!(self.kind, AggregateKind::VarSamp | AggregateKind::StddevSamp);
        let divisor = if sample { count - 1.0 } else { count };
        if divisor <= 0.0 {
            return None;
        }
        let variance = (squares - sum * sum / count) / divisor;
        let root = matches!(self.kind, AggregateKind::StddevPop | AggregateKind::StddevSamp);
        Some(if root { variance.powf(0.5) } else { variance })
    }

    fn add(&mut self, group: usize, sum: f64, square: f64, count: i64) {
        self.sums[group] += sum;
        self.squares[group] += square;
        self.counts[group] += count;
    }
}

impl Accumulator for Variance {
    fn input_type(&self) -> Option<DataType> {
        Some(DataType::Float64)
    }
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, 0.0);
        self.squares.resize(groups, 0.0);
        self.counts.resize(groups, 0);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("a variance without an argument")) };
        let values = column.as_primitive::<Float64Type>().values();
        for_each_value(groups, values, column, filter, |group, value| {
            self.add(group, value, value * value, 1)
        });
        Ok(())
    }
    fn retract(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("a variance without an argument")) };
        let values = column.as_primitive::<Float64Type>().values();
        for_each_value(groups, values, column, filter, |group, value| {
            self.add(group, -value, -(value * value), -1)
        });
        Ok(())
    }
    fn takes_back(&self) -> bool {
        true
    }
    fn reset(&mut self, group: usize) {
        self.sums[group] = 0.0;
        self.squares[group] = 0.0;
        self.counts[group] = 0;
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (from, group) in groups.iter().enumerate() {
            self.add(*group as usize, other.sums[from], other.squares[from], other.counts[from]);
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Float64, DataType::Float64, DataType::Int64]
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let floats = |values: &[f64]| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(groups.iter().map(|group| values[*group as usize])))
        };
        let counts = Int64Array::from_iter_values(groups.iter().map(|group| self.counts[*group as usize]));
        Ok(vec![floats(&self.sums), floats(&self.squares), Arc::new(counts)])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let sums = columns[0].as_primitive::<Float64Type>();
        let squares = columns[1].as_primitive::<Float64Type>();
        let counts = columns[2].as_primitive::<Int64Type>();
        for (row, group) in groups.iter().enumerate() {
            self.add(*group as usize, sums.value(row), squares.value(row), counts.value(row));
        }
        Ok(())
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let results: Float64Array = groups.iter().map(|group| self.result(*group as usize)).collect();
        as_type(&(Arc::new(results) as ArrayRef), &self.out)
    }
    fn clear(&mut self) {
        self.sums.clear();
        self.squares.clear();
        self.counts.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Self::new(self.kind.clone(), self.out.clone()))
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
