//! `VAR_POP`, `VAR_SAMP`, `STDDEV_POP`, `STDDEV_SAMP`: from the sum, the sum of squares and the count, as Flink's planner
//! reduces them (AggregateReduceFunctionsRule), so that the last digits agree too.
//!
//! Whole numbers are reckoned in their own type, as there: divisions truncate and sums of squares wrap, so that those of
//! small types soon mean nothing. DECIMAL and FLOAT are reckoned as DOUBLE.

use std::any::Any;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, Int64Array, PrimitiveArray};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;
use millstream_engine::{Error, Result};

use crate::kept_type::as_type;

use super::{Accumulator, AggregateKind, for_each_value, same};

/// An accumulator for an argument whose results are of type `out`.
pub(super) fn variance(kind: &AggregateKind, out: DataType) -> Box<dyn Accumulator> {
    let is_sample = matches!(kind, AggregateKind::VarSamp | AggregateKind::StddevSamp);
    let is_root = matches!(kind, AggregateKind::StddevPop | AggregateKind::StddevSamp);
    if out.is_integer() {
        Box::new(Variance::<i64>::new(is_sample, is_root, out))
    } else {
        Box::new(Variance::<f64>::new(is_sample, is_root, out))
    }
}

/// A type that variances are reckoned in.
trait Number: ArrowNativeType + Default + Sync {
    type Arrow: ArrowPrimitiveType<Native = Self>;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn negated(self) -> Self;
    /// The value in the width of type `out`.
    fn cut(self, out: &DataType) -> Self;
    /// `(squares - sum² / count) / divisor`
    fn spread(sum: Self, squares: Self, count: i64, divisor: i64, out: &DataType) -> Self;
    fn root(self) -> f64;
}

impl Number for f64 {
    type Arrow = Float64Type;
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn times(self, other: Self) -> Self {
        self * other
    }
    fn negated(self) -> Self {
        -self
    }
    fn cut(self, _out: &DataType) -> Self {
        self
    }
    fn spread(sum: Self, squares: Self, count: i64, divisor: i64, _out: &DataType) -> Self {
        (squares - sum * sum / count as f64) / divisor as f64
    }
    fn root(self) -> f64 {
        self.powf(0.5)
    }
}

impl Number for i64 {
    type Arrow = Int64Type;
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    fn times(self, other: Self) -> Self {
        self.wrapping_mul(other)
    }
    fn negated(self) -> Self {
        self.wrapping_neg()
    }
    fn cut(self, out: &DataType) -> Self {
        match out {
            DataType::Int8 => Self::from(self as i8),
            DataType::Int16 => Self::from(self as i16),
            DataType::Int32 => Self::from(self as i32),
            _ => self,
        }
    }
    fn spread(sum: Self, squares: Self, count: i64, divisor: i64, out: &DataType) -> Self {
        let of_sum = sum.times(sum).cut(out) / count;
        squares.cut(out).wrapping_sub(of_sum) / divisor
    }
    fn root(self) -> f64 {
        // Java's cast makes 0 of the root of what has wrapped below it.
        if self < 0 { 0.0 } else { (self as f64).powf(0.5) }
    }
}

struct Variance<N> {
    is_sample: bool,
    is_root: bool,
    out: DataType,
    sums: Vec<N>,
    squares: Vec<N>,
    counts: Vec<i64>,
}

impl<N: Number> Variance<N> {
    fn new(is_sample: bool, is_root: bool, out: DataType) -> Self {
        Self { is_sample, is_root, out, sums: Vec::new(), squares: Vec::new(), counts: Vec::new() }
    }

    fn result(&self, group: usize) -> Option<N> {
        let count = self.counts[group];
        let divisor = if self.is_sample { count - 1 } else { count };
        (divisor > 0).then(|| N::spread(self.sums[group], self.squares[group], count, divisor, &self.out))
    }

    fn add(&mut self, group: usize, sum: N, square: N, count: i64) {
        self.sums[group] = self.sums[group].plus(sum);
        self.squares[group] = self.squares[group].plus(square);
        self.counts[group] += count;
    }

    /// Adds the rows, or takes them back.
    fn add_rows(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
        is_back: bool,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("a variance without an argument")) };
        let values = column.as_primitive::<N::Arrow>().values();
        for_each_value(groups, values, column, filter, |group, value| {
            let square = value.times(value);
            if is_back {
                self.add(group, value.negated(), square.negated(), -1);
            } else {
                self.add(group, value, square, 1);
            }
        });
        Ok(())
    }
}

impl<N: Number> Accumulator for Variance<N> {
    fn input_type(&self) -> Option<DataType> {
        Some(N::Arrow::DATA_TYPE)
    }
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, N::default());
        self.squares.resize(groups, N::default());
        self.counts.resize(groups, 0);
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.add_rows(groups, column, filter, false)
    }
    fn retract(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.add_rows(groups, column, filter, true)
    }
    fn takes_back(&self) -> bool {
        true
    }
    fn reset(&mut self, group: usize) {
        self.sums[group] = N::default();
        self.squares[group] = N::default();
        self.counts[group] = 0;
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (from, group) in groups.iter().enumerate() {
            self.add(*group as usize, other.sums[from], other.squares[from], other.counts[from]);
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![N::Arrow::DATA_TYPE, N::Arrow::DATA_TYPE, DataType::Int64]
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let numbers = |values: &[N]| -> ArrayRef {
            let values = groups.iter().map(|group| values[*group as usize]);
            Arc::new(PrimitiveArray::<N::Arrow>::from_iter_values(values))
        };
        let counts = Int64Array::from_iter_values(groups.iter().map(|group| self.counts[*group as usize]));
        Ok(vec![numbers(&self.sums), numbers(&self.squares), Arc::new(counts)])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let sums = columns[0].as_primitive::<N::Arrow>();
        let squares = columns[1].as_primitive::<N::Arrow>();
        let counts = columns[2].as_primitive::<Int64Type>();
        for (row, group) in groups.iter().enumerate() {
            self.add(*group as usize, sums.value(row), squares.value(row), counts.value(row));
        }
        Ok(())
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let results = groups.iter().map(|group| self.result(*group as usize));
        let results: ArrayRef = if self.is_root {
            let roots = results.map(|variance| variance.map(Number::root));
            Arc::new(PrimitiveArray::<Float64Type>::from_iter(roots))
        } else {
            Arc::new(PrimitiveArray::<N::Arrow>::from_iter(results))
        };
        as_type(&results, &self.out)
    }
    fn clear(&mut self) {
        self.sums.clear();
        self.squares.clear();
        self.counts.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Self::new(self.is_sample, self.is_root, self.out.clone()))
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
