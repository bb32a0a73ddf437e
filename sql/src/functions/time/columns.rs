//! Dates, times, timestamps and intervals as kernels see them: by row, in milliseconds, whatever their Arrow type.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float64Type, Int64Type, IntervalMonthDayNanoType, Time32MillisecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{
    Array, ArrayRef, Date32Array, Float64Array, Int64Array, IntervalMonthDayNanoArray,
    Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use datafusion_common::{Result, internal_err};
use datafusion_expr::ColumnarValue;

use super::calendar::DAY_MS;
use super::formatter::Moment;
use crate::functions::call::Call;
use crate::parse::types::LTZ;

/// What a type of time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Date,
    Time,
    /// A wall clock.
    Timestamp,
    /// An instant.
    Local,
    Interval,
    /// A NULL without a type.
    Null,
}

impl Sort {
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Date32 => Self::Date,
            DataType::Time32(TimeUnit::Millisecond) => Self::Time,
            DataType::Timestamp(TimeUnit::Second, _) => return None,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Local,
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval,
            DataType::Null => Self::Null,
            _ => return None,
        })
    }
}

/// TIMESTAMP_LTZ(3).
pub(super) fn local_ms_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some(LTZ.into()))
}

enum Column {
    Date(Date32Array),
    Time(Time32MillisecondArray),
    Ms(TimestampMillisecondArray),
    Us(TimestampMicrosecondArray),
    Ns(TimestampNanosecondArray),
    Interval(IntervalMonthDayNanoArray),
    Null,
}

/// An argument of a type of time, by row.
pub(super) struct Moments {
    column: Column,
    /// The one value of a constant stands for every row.
    constant: bool,
    pub sort: Sort,
}

/// A year-month or day-time interval; one of the two is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub months: i64,
    pub ms: i64,
}

impl Moments {
    pub fn of(call: &Call<'_>, index: usize) -> Result<Self> {
        let (array, constant) = match call.arguments.get(index) {
            Some(ColumnarValue::Scalar(value)) => (value.to_array()?, true),
            Some(ColumnarValue::Array(array)) => (Arc::clone(array), false),
            None => return internal_err!("argument {index} of a function is missing"),
        };
        let Some(sort) = Sort::of(array.data_type()) else {
            return internal_err!("argument {index} of a function of time came as {}", array.data_type());
        };
        let column = match array.data_type() {
            DataType::Date32 => Column::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Time32(_) => Column::Time(array.as_primitive::<Time32MillisecondType>().clone()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Column::Ms(array.as_primitive::<TimestampMillisecondType>().clone())
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Column::Us(array.as_primitive::<TimestampMicrosecondType>().clone())
            }
            DataType::Timestamp(..) => Column::Ns(array.as_primitive::<TimestampNanosecondType>().clone()),
            DataType::Interval(_) => {
                Column::Interval(array.as_primitive::<IntervalMonthDayNanoType>().clone())
            }
            _ => Column::Null,
        };
        Ok(Self { column, constant, sort })
    }

    /// Milliseconds (of a date, since 1970; of a time, since midnight) and the nanoseconds of the last one.
    pub fn get(&self, row: usize) -> Option<Moment> {
        let row = if self.constant { 0 } else { row };
        let whole = |ms: i64| Moment { ms, nanos: 0 };
        match &self.column {
            Column::Date(column) => {
                column.is_valid(row).then(|| whole(i64::from(column.value(row)) * DAY_MS))
            }
            Column::Time(column) => column.is_valid(row).then(|| whole(i64::from(column.value(row)))),
            Column::Ms(column) => column.is_valid(row).then(|| whole(column.value(row))),
            Column::Us(column) => column.is_valid(row).then(|| {
                let us = column.value(row);
                Moment { ms: us.div_euclid(1_000), nanos: us.rem_euclid(1_000) * 1_000 }
            }),
            Column::Ns(column) => column.is_valid(row).then(|| {
                let ns = column.value(row);
                Moment { ms: ns.div_euclid(1_000_000), nanos: ns.rem_euclid(1_000_000) }
            }),
            Column::Interval(_) | Column::Null => None,
        }
    }

    pub fn interval(&self, row: usize) -> Option<Interval> {
        let row = if self.constant { 0 } else { row };
        match &self.column {
            Column::Interval(column) => column.is_valid(row).then(|| {
                let value = column.value(row);
                let ms = i64::from(value.days)
                    .saturating_mul(DAY_MS)
                    .saturating_add(value.nanoseconds / 1_000_000);
                Interval { months: i64::from(value.months), ms }
            }),
            _ => None,
        }
    }
}

/// Numbers of any type, by row.
pub(super) enum Numbers {
    Whole(Int64Array, bool),
    Real(Float64Array, bool),
}

impl Numbers {
    /// Whole numbers and decimals as BIGINT (decimals cut), floats as DOUBLE.
    pub fn of(call: &Call<'_>, index: usize) -> Result<Self> {
        let (array, constant) = match call.arguments.get(index) {
            Some(ColumnarValue::Scalar(value)) => (value.to_array()?, true),
            Some(ColumnarValue::Array(array)) => (Arc::clone(array), false),
            None => return internal_err!("argument {index} of a function is missing"),
        };
        if array.data_type().is_floating() {
            let array = arrow_cast::cast(&array, &DataType::Float64)?;
            return Ok(Self::Real(array.as_primitive::<Float64Type>().clone(), constant));
        }
        let array = match array.data_type() {
            DataType::Decimal128(precision, scale) if *scale > 0 => {
                let unit = 10_i128.pow(u32::from(scale.unsigned_abs()));
                let values = array.as_primitive::<arrow_array::types::Decimal128Type>();
                let whole = values.unary::<_, arrow_array::types::Decimal128Type>(|value| value / unit);
                arrow_cast::cast(&whole.with_precision_and_scale(*precision, 0)?, &DataType::Int64)?
            }
            _ => arrow_cast::cast(&array, &DataType::Int64)?,
        };
        Ok(Self::Whole(array.as_primitive::<Int64Type>().clone(), constant))
    }

    /// As a whole number.
    pub fn whole(&self, row: usize) -> Option<i64> {
        match self {
            Self::Whole(column, constant) => {
                let row = if *constant { 0 } else { row };
                column.is_valid(row).then(|| column.value(row))
            }
            // Java's cast: towards zero, and to the ends of the range beyond them.
            Self::Real(column, constant) => {
                let row = if *constant { 0 } else { row };
                column.is_valid(row).then(|| column.value(row) as i64)
            }
        }
    }
}

/// A column of any type of time, of the moments of its rows.
pub(super) fn collect(
    returns: &DataType,
    rows: usize,
    mut of: impl FnMut(usize) -> Option<Moment>,
) -> Result<ArrayRef> {
    Ok(match returns {
        DataType::Date32 => Arc::new(
            (0..rows)
                .map(|row| of(row).and_then(|moment| i32::try_from(moment.ms.div_euclid(DAY_MS)).ok()))
                .collect::<Date32Array>(),
        ),
        DataType::Time32(_) => Arc::new(
            (0..rows)
                .map(|row| of(row).and_then(|moment| i32::try_from(moment.ms.rem_euclid(DAY_MS)).ok()))
                .collect::<Time32MillisecondArray>(),
        ),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            let array =
                (0..rows).map(|row| of(row).map(|moment| moment.ms)).collect::<TimestampMillisecondArray>();
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let us = |moment: Moment| moment.ms.checked_mul(1_000)?.checked_add(moment.nanos / 1_000);
            let array = (0..rows).map(|row| of(row).and_then(us)).collect::<TimestampMicrosecondArray>();
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let ns = |moment: Moment| moment.ms.checked_mul(1_000_000)?.checked_add(moment.nanos);
            let array = (0..rows).map(|row| of(row).and_then(ns)).collect::<TimestampNanosecondArray>();
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        other => return internal_err!("a function of time cannot return {other}"),
    })
}
