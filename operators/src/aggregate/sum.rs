//! `SUM` and `AVG`: one accumulator over a number type, two ways to finish it.
//!
//! Integers sum in 64 bits and wrap; the result is cut to the argument's type, as Java's arithmetic does. FLOAT and
//! DOUBLE sum in the order the rows come. DECIMAL sums exactly and is null when it overflows 38 digits. AVG of an
//! integer type divides and truncates; AVG of DECIMAL rounds half up at its scale.

use std::any::Any;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, PrimitiveArray};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;
use millstream_engine::{Error, Result};

use crate::kept_type::as_type;

use super::{Accumulator, for_each_value, same};

/// A type that sums.
trait Number: ArrowNativeType + Default + Sync {
    type Arrow: ArrowPrimitiveType<Native = Self>;
    const EXACT: bool;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn divide(self, count: i64) -> Self;
    /// Rounded to 32 bits, where that means something.
    fn single(self) -> Self {
        self
    }
}

impl Number for i64 {
    type Arrow = Int64Type;
    const EXACT: bool = true;
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    fn divide(self, count: i64) -> Self {
        self.wrapping_div(count)
    }
}

impl Number for f64 {
    type Arrow = Float64Type;
    const EXACT: bool = false;
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn minus(self, other: Self) -> Self {
        self - other
    }
    fn divide(self, count: i64) -> Self {
        self / count as f64
    }
    fn single(self) -> Self {
        f64::from(self as f32)
    }
}

impl Number for i128 {
    type Arrow = Decimal128Type;
    const EXACT: bool = true;
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    /// Rounds half away from zero, as Java's HALF_UP.
    fn divide(self, count: i64) -> Self {
        let count = i128::from(count);
        let (quotient, rest) = (self / count, self % count);
        if rest.abs() * 2 >= count { quotient + self.signum() } else { quotient }
    }
}

/// `SUM` with result type `out`.
pub(super) fn sum(out: &DataType) -> Result<Box<dyn Accumulator>> {
    build(out, out, false)
}

/// `AVG` of `argument` with result type `out`.
pub(super) fn avg(argument: &DataType, out: &DataType) -> Result<Box<dyn Accumulator>> {
    build(argument, out, true)
}

fn build(argument: &DataType, out: &DataType, mean: bool) -> Result<Box<dyn Accumulator>> {
    Ok(match argument {
        kind if kind.is_integer() => Box::new(Sum::<i64>::new(DataType::Int64, out, mean)),
        kind if kind.is_floating() => Box::new(Sum::<f64>::new(DataType::Float64, out, mean)),
        DataType::Decimal128(_, _) => Box::new(Sum::<i128>::new(out.clone(), out, mean)),
        other => return Err(Error::config(format!("there is no sum of {other}"))),
    })
}

struct Sum<T: Number> {
    input: DataType,
    out: DataType,
    mean: bool,
    /// FLOAT sums are rounded to 32 bits at each step, as Flink's are. AVG sums in 64.
    single: bool,
    /// By group: the sum, and how many values went in; 0 gives null. Side by side, for one cache miss a row.
    totals: Vec<(T, i64)>,
}

impl<T: Number> Sum<T> {
    fn new(input: DataType, out: &DataType, mean: bool) -> Self {
        let single = *out == DataType::Float32 && !mean;
        Self { input, out: out.clone(), mean, single, totals: Vec::new() }
    }
}

impl<T: Number> Accumulator for Sum<T> {
    fn input_type(&self) -> Option<DataType> {
        Some(self.input.clone())
    }
    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups, (T::default(), 0));
    }
    fn update(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("SUM without an argument")) };
        let values = column.as_primitive::<T::Arrow>().values();
        let totals = &mut self.totals;
        if self.single {
            for_each_value(groups, values, column, filter, |group, value| {
                let (sum, count) = &mut totals[group];
                *sum = sum.plus(value).single();
                *count += 1;
            });
        } else {
            for_each_value(groups, values, column, filter, |group, value| {
                let (sum, count) = &mut totals[group];
                *sum = sum.plus(value);
                *count += 1;
            });
        }
        Ok(())
    }
    fn retract(
        &mut self,
        groups: &[u32],
        column: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let Some(column) = column else { return Err(Error::internal("SUM without an argument")) };
        let values = column.as_primitive::<T::Arrow>().values();
        let (totals, single) = (&mut self.totals, self.single);
        for_each_value(groups, values, column, filter, |group, value| {
            let (sum, count) = &mut totals[group];
            *sum = if single { sum.minus(value).single() } else { sum.minus(value) };
            *count -= 1;
        });
        Ok(())
    }
    fn takes_back(&self) -> bool {
        true
    }
    fn reset(&mut self, group: usize) {
        self.totals[group] = (T::default(), 0);
    }
    fn merge_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, (sum, count)) in groups.iter().zip(&other.totals) {
            let total = &mut self.totals[*group as usize];
            *total = (total.0.plus(*sum), total.1 + count);
        }
    }
    fn retract_from(&mut self, other: &dyn Accumulator, groups: &[u32]) {
        let Some(other) = same::<Self>(other) else { return };
        for (group, (sum, count)) in groups.iter().zip(&other.totals) {
            let total = &mut self.totals[*group as usize];
            *total = (total.0.minus(*sum), total.1 - count);
        }
    }
    fn state_types(&self) -> Vec<DataType> {
        vec![self.input.clone(), DataType::Int64]
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = groups.iter().map(|group| self.totals[*group as usize].0);
        let sums = PrimitiveArray::<T::Arrow>::from_iter_values(sums).with_data_type(self.input.clone());
        let counts = Int64Array::from_iter_values(groups.iter().map(|group| self.totals[*group as usize].1));
        Ok(vec![Arc::new(sums), Arc::new(counts)])
    }
    fn merge_state(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (sums, counts) = (columns[0].as_primitive::<T::Arrow>(), columns[1].as_primitive::<Int64Type>());
        for ((group, sum), count) in groups.iter().zip(sums.values()).zip(counts.values()) {
            let total = &mut self.totals[*group as usize];
            *total = (total.0.plus(*sum), total.1 + count);
        }
        Ok(())
    }
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let values: PrimitiveArray<T::Arrow> = groups
            .iter()
            .map(|group| {
                let (sum, count) = self.totals[*group as usize];
                (count > 0).then(|| if self.mean { sum.divide(count) } else { sum })
            })
            .collect();
        let values = values.with_data_type(self.input.clone());
        if let DataType::Decimal128(precision, _) = self.out {
            // Flink: a decimal that outgrows its digits is null.
            let limit = 10_i128.pow(u32::from(precision));
            let decimals = values.as_any().downcast_ref::<PrimitiveArray<Decimal128Type>>();
            if let Some(decimals) =
                decimals.filter(|decimals| decimals.iter().flatten().any(|n| n.abs() >= limit))
            {
                let checked: PrimitiveArray<Decimal128Type> =
                    decimals.iter().map(|value| value.filter(|n| n.abs() < limit)).collect();
                return Ok(Arc::new(checked.with_data_type(self.out.clone())));
            }
        }
        as_type(&(Arc::new(values) as ArrayRef), &self.out)
    }
    fn clear(&mut self) {
        self.totals.clear();
    }
    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Self::new(self.input.clone(), &self.out, self.mean))
    }
    fn is_invertible(&self) -> bool {
        T::EXACT
    }
    fn is_order_insensitive(&self) -> bool {
        T::EXACT
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
