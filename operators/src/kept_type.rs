//! Columns in the type that state is kept in, and back: small integers, dates and times as 64-bit integers, numbers as
//! DOUBLE, every kind of string as one.
//!
//! Only what keys and aggregates need, so that a library build does without Arrow's casts and all they parse with.
//! Nulls stay. Columns come from an operator's input or its accumulators, and go to the other.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Float64Array, Int64Array, PrimitiveArray,
    StringArray, StringViewArray,
};
use arrow_schema::{DataType, TimeUnit};
use millstream_engine::{Error, Result};

/// Calls `$make::<T>` with the Arrow type of an integer, date or time; `None` for another.
macro_rules! by_integer_type {
    ($kind:expr, $make:ident, $($argument:expr),*) => {
        match $kind {
            DataType::Int8 => Some($make::<Int8Type>($($argument),*)),
            DataType::Int16 => Some($make::<Int16Type>($($argument),*)),
            DataType::Int32 => Some($make::<Int32Type>($($argument),*)),
            DataType::Int64 => Some($make::<Int64Type>($($argument),*)),
            DataType::Date32 => Some($make::<Date32Type>($($argument),*)),
            DataType::Date64 => Some($make::<Date64Type>($($argument),*)),
            DataType::Time32(TimeUnit::Second) => Some($make::<Time32SecondType>($($argument),*)),
            DataType::Time32(_) => Some($make::<Time32MillisecondType>($($argument),*)),
            DataType::Time64(TimeUnit::Microsecond) => Some($make::<Time64MicrosecondType>($($argument),*)),
            DataType::Time64(_) => Some($make::<Time64NanosecondType>($($argument),*)),
            DataType::Timestamp(TimeUnit::Second, _) => Some($make::<TimestampSecondType>($($argument),*)),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Some($make::<TimestampMillisecondType>($($argument),*))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Some($make::<TimestampMicrosecondType>($($argument),*))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Some($make::<TimestampNanosecondType>($($argument),*))
            }
            _ => None,
        }
    };
}

/// `column` as `to`. Integers that do not fit keep their low bits, as Java's narrowing does; a floating-point number
/// becomes an integer by truncation and a decimal by rounding, and is null where it does not fit.
///
/// # Errors
/// If a type is not one that state is kept in.
pub(crate) fn as_type(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = column.data_type();
    if from == to {
        return Ok(Arc::clone(column));
    }
    let found = match (from, to) {
        (_, DataType::Boolean) => column
            .as_primitive_opt::<Int64Type>()
            .map(|values| Arc::new(BooleanArray::from_unary(values, |value| value != 0)) as ArrayRef),
        (from, DataType::Float64) if from.is_integer() => {
            let wide = as_type(column, &DataType::Int64)?;
            Some(Arc::new(wide.as_primitive::<Int64Type>().unary::<_, Float64Type>(|value| value as f64))
                as ArrayRef)
        }
        (DataType::Decimal128(_, scale), DataType::Float64) => {
            let units = 10_f64.powi(i32::from(*scale));
            let values = column.as_primitive::<Decimal128Type>();
            Some(Arc::new(values.unary::<_, Float64Type>(|value| value as f64 / units)) as ArrayRef)
        }
        (_, DataType::Float64) => column
            .as_primitive_opt::<Float32Type>()
            .map(|values| Arc::new(values.unary::<_, Float64Type>(f64::from)) as ArrayRef),
        (DataType::Float64, DataType::Float32) => {
            Some(Arc::new(doubles(column).unary::<_, Float32Type>(|value| value as f32)) as ArrayRef)
        }
        (DataType::Float64, DataType::Decimal128(precision, scale)) => {
            let (factor, limit) = (10_f64.powi(i32::from(*scale)), 10_f64.powi(i32::from(*precision)));
            let values = doubles(column).unary_opt::<_, Decimal128Type>(|value| {
                let units = (value * factor).round();
                (units.abs() < limit).then_some(units as i128)
            });
            Some(Arc::new(values.with_data_type(to.clone())) as ArrayRef)
        }
        (DataType::Float64, _) => by_integer_type!(to, truncated, doubles(column), to),
        (DataType::Decimal128(_, from_scale), DataType::Decimal128(precision, scale)) => {
            let values = column.as_primitive::<Decimal128Type>();
            let limit = 10_i128.pow(u32::from(*precision));
            let scaled = values.unary_opt::<_, Decimal128Type>(|value| {
                rescaled(value, i32::from(*scale) - i32::from(*from_scale)).filter(|n| n.abs() < limit)
            });
            Some(Arc::new(scaled.with_data_type(to.clone())) as ArrayRef)
        }
        (_, DataType::Utf8) => column
            .as_string_view_opt()
            .map(|texts| Arc::new(texts.iter().collect::<StringArray>()) as ArrayRef),
        (DataType::Utf8, DataType::Utf8View) => {
            Some(Arc::new(column.as_string::<i32>().iter().collect::<StringViewArray>()) as ArrayRef)
        }
        (_, DataType::Binary) => column
            .as_binary_view_opt()
            .map(|bytes| Arc::new(bytes.iter().collect::<BinaryArray>()) as ArrayRef),
        (DataType::Binary, DataType::BinaryView) => {
            Some(Arc::new(column.as_binary::<i32>().iter().collect::<BinaryViewArray>()) as ArrayRef)
        }
        (DataType::Boolean, DataType::Int64) => Some(Arc::new(
            column.as_boolean().iter().map(|value| value.map(i64::from)).collect::<Int64Array>(),
        ) as ArrayRef),
        (_, DataType::Int64) => by_integer_type!(from, widened, column),
        (DataType::Int64, _) => by_integer_type!(to, narrowed, column.as_primitive(), to),
        _ => None,
    };
    found.ok_or_else(|| Error::internal(format!("a column of {from} cannot be kept as {to}")))
}

fn doubles(column: &ArrayRef) -> &Float64Array {
    column.as_primitive()
}

fn widened<T: ArrowPrimitiveType<Native: Into<i64>>>(column: &ArrayRef) -> ArrayRef {
    Arc::new(column.as_primitive::<T>().unary::<_, Int64Type>(Into::into))
}

/// The native integer of a type, cut out of 64 bits.
trait Cut: Sized {
    fn cut(value: i64) -> Self;
}
macro_rules! cut {
    ($($native:ty),*) => {
        $(impl Cut for $native {
            fn cut(value: i64) -> Self {
                value as Self
            }
        })*
    };
}
cut!(i8, i16, i32, i64);

fn narrowed<T: ArrowPrimitiveType<Native: Cut>>(column: &Int64Array, to: &DataType) -> ArrayRef {
    Arc::new(column.unary::<_, T>(Cut::cut).with_data_type(to.clone()))
}

fn truncated<T: ArrowPrimitiveType<Native: Cut + Into<i64>>>(
    column: &Float64Array,
    to: &DataType,
) -> ArrayRef {
    let values: PrimitiveArray<T> = column.unary_opt(|value| {
        // A double of 2^63 and more saturates, and then is not what came in.
        let whole = value.trunc() as i64;
        let cut = T::Native::cut(whole);
        (whole as f64 == value.trunc() && cut.into() == whole).then_some(cut)
    });
    Arc::new(values.with_data_type(to.clone()))
}

/// A decimal's units with `places` more digits behind the point, rounded half away from zero where there are fewer.
fn rescaled(units: i128, places: i32) -> Option<i128> {
    let factor = 10_i128.checked_pow(places.unsigned_abs())?;
    if places >= 0 {
        return units.checked_mul(factor);
    }
    let (quotient, rest) = (units / factor, units % factor);
    Some(if rest.abs() >= factor - rest.abs() { quotient + units.signum() } else { quotient })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every type that state is kept for goes there and comes back, with its nulls.
    #[test]
    fn there_and_back() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(-3)]));
        for kind in [
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Date32,
            DataType::Time32(TimeUnit::Millisecond),
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Timestamp(TimeUnit::Millisecond, None),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Timestamp(TimeUnit::Nanosecond, None),
        ] {
            let there = as_type(&numbers, &kind).unwrap();
            assert_eq!(there.data_type(), &kind);
            assert_eq!(&as_type(&there, &DataType::Int64).unwrap(), &numbers, "{kind}");
        }
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), None, Some("a longer text than inline")]));
        let views = as_type(&texts, &DataType::Utf8View).unwrap();
        assert_eq!(&as_type(&views, &DataType::Utf8).unwrap(), &texts);
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
        let kept = as_type(&flags, &DataType::Int64).unwrap();
        assert_eq!(&as_type(&kept, &DataType::Boolean).unwrap(), &flags);
    }

    #[test]
    fn what_does_not_fit_is_cut_as_java_does_or_null() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![300, -1]));
        assert_eq!(
            as_type(&numbers, &DataType::Int8).unwrap().as_primitive::<Int8Type>().values(),
            &[44, -1]
        );
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![-2.9, 1e30, f64::NAN, 200.0]));
        let cut = as_type(&numbers, &DataType::Int8).unwrap();
        assert_eq!(cut.as_primitive::<Int8Type>().iter().collect::<Vec<_>>(), [Some(-2), None, None, None]);
        let decimals = as_type(&numbers, &DataType::Decimal128(5, 1)).unwrap();
        let decimals = decimals.as_primitive::<Decimal128Type>();
        assert_eq!(decimals.iter().collect::<Vec<_>>(), [Some(-29), None, None, Some(2000)]);
    }

    #[test]
    fn decimals_change_their_scale_rounding_half_away_from_zero() {
        let kind = |precision, scale| DataType::Decimal128(precision, scale);
        let units: PrimitiveArray<Decimal128Type> = vec![Some(125), Some(-125), Some(124), None].into();
        let column: ArrayRef = Arc::new(units.with_data_type(kind(5, 2)));
        let fewer = as_type(&column, &kind(5, 1)).unwrap();
        let fewer = fewer.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>();
        assert_eq!(fewer, [Some(13), Some(-13), Some(12), None]);
        let more = as_type(&column, &kind(5, 4)).unwrap();
        let more = more.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>();
        assert_eq!(more, [Some(12_500), Some(-12_500), Some(12_400), None]);
    }

    #[test]
    fn a_type_that_is_not_kept_is_an_error() {
        let column: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
        let error = as_type(&column, &DataType::Utf8).unwrap_err().to_string();
        assert!(error.contains("Boolean") && error.contains("Utf8"), "{error}");
    }
}
