//! What PRINTF is given, by row, as Java sees it: a DATE is its number of days, a TIME its milliseconds.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::temporal_conversions::as_datetime;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use chrono::Timelike;
use datafusion_common::{Result, internal_err};
use millstream_engine::type_name;

use crate::functions::call::Call;
use crate::functions::cast::{java_double, java_float};
use crate::plan::error::PlanError;

/// Refuses types that have no form in a text.
pub(super) fn check(kind: &DataType) -> Result<(), PlanError> {
    use DataType as T;
    let is_known = kind.is_integer()
        || kind.is_null()
        || matches!(
            kind,
            T::Boolean
                | T::Float32
                | T::Float64
                | T::Utf8
                | T::Decimal128(..)
                | T::Date32
                | T::Time32(_)
                | T::Timestamp(..)
        );
    if is_known {
        return Ok(());
    }
    Err(PlanError::new(format!("PRINTF takes no {}", type_name(kind))).remedy("CAST it to STRING"))
}

/// A value of a row.
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    /// With how many bits it has.
    Whole(i64, u32),
    /// With whether it is a FLOAT.
    Real(f64, bool),
    Text(Cow<'a, str>),
}

impl Value<'_> {
    pub fn show(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Whole(value, _) => out.push_str(&value.to_string()),
            Self::Real(value, true) => java_float(*value as f32, out),
            Self::Real(value, false) => java_double(*value, out),
            Self::Text(text) => out.push_str(text),
        }
    }

    /// `hashCode()`; none of NULL, and of text, whose hash is Flink's own.
    pub fn java_hash(&self) -> Option<i32> {
        let folded = |bits: u64| (bits ^ bits >> 32) as i32;
        match self {
            Self::Null | Self::Text(_) => None,
            Self::Boolean(value) => Some(if *value { 1231 } else { 1237 }),
            Self::Whole(value, 64) => Some(folded(*value as u64)),
            Self::Whole(value, _) => i32::try_from(*value).ok(),
            Self::Real(value, true) => Some((*value as f32).to_bits().cast_signed()),
            Self::Real(value, false) => Some(folded(value.to_bits())),
        }
    }
}

/// An argument.
pub(super) struct Argument {
    column: ArrayRef,
}

impl Argument {
    pub fn of(call: &Call<'_>, index: usize) -> Result<Self> {
        let column = call.column(index)?;
        match check(column.data_type()) {
            Ok(()) => Ok(Self { column }),
            Err(_) => internal_err!("PRINTF was given {}", column.data_type()),
        }
    }

    pub fn value(&self, row: usize) -> Value<'_> {
        use DataType as T;
        let column = &self.column;
        if column.is_null(row) || column.data_type().is_null() {
            return Value::Null;
        }
        match column.data_type() {
            T::Boolean => Value::Boolean(column.as_boolean().value(row)),
            T::Int8 => Value::Whole(column.as_primitive::<Int8Type>().value(row).into(), 8),
            T::Int16 => Value::Whole(column.as_primitive::<Int16Type>().value(row).into(), 16),
            T::Int32 => Value::Whole(column.as_primitive::<Int32Type>().value(row).into(), 32),
            T::Int64 => Value::Whole(column.as_primitive::<Int64Type>().value(row), 64),
            T::Date32 => Value::Whole(column.as_primitive::<Date32Type>().value(row).into(), 32),
            T::Time32(TimeUnit::Second) => {
                Value::Whole(i64::from(column.as_primitive::<Time32SecondType>().value(row)) * 1_000, 32)
            }
            T::Time32(_) => {
                Value::Whole(column.as_primitive::<Time32MillisecondType>().value(row).into(), 32)
            }
            T::Float32 => Value::Real(column.as_primitive::<Float32Type>().value(row).into(), true),
            T::Float64 => Value::Real(column.as_primitive::<Float64Type>().value(row), false),
            T::Decimal128(..) => {
                Value::Text(column.as_primitive::<Decimal128Type>().value_as_string(row).into())
            }
            T::Utf8 => Value::Text(column.as_string::<i32>().value(row).into()),
            _ => local_time(column, row).map_or(Value::Null, |text| Value::Text(text.into())),
        }
    }
}

/// As `LocalDateTime.toString`: `2026-01-02T03:04`, with seconds and thousands of their parts as far as there are any.
fn local_time(column: &ArrayRef, row: usize) -> Option<String> {
    let time = match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let values = column.as_primitive::<TimestampMillisecondType>();
            as_datetime::<TimestampMillisecondType>(values.value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = column.as_primitive::<TimestampMicrosecondType>();
            as_datetime::<TimestampMicrosecondType>(values.value(row))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = column.as_primitive::<TimestampNanosecondType>();
            as_datetime::<TimestampNanosecondType>(values.value(row))
        }
        _ => None,
    }?;
    let fraction = time.and_utc().timestamp_subsec_nanos();
    let form = match (time.second(), fraction) {
        (0, 0) => "%Y-%m-%dT%H:%M",
        (_, 0) => "%Y-%m-%dT%H:%M:%S",
        (_, nanos) if nanos % 1_000_000 == 0 => "%Y-%m-%dT%H:%M:%S%.3f",
        (_, nanos) if nanos % 1_000 == 0 => "%Y-%m-%dT%H:%M:%S%.6f",
        _ => "%Y-%m-%dT%H:%M:%S%.9f",
    };
    Some(time.format(form).to_string())
}
