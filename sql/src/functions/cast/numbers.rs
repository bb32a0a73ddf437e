//! Numbers and booleans to numbers and booleans.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, Decimal128Array, PrimitiveArray};
use arrow_buffer::i256;
use arrow_cast::cast as arrow_cast;
use arrow_schema::DataType;
use datafusion_common::Result;

use super::Kernel;
use crate::functions::math::decimal::{decimals, rescaled, within};

pub(super) fn kernel(from: &DataType, to: &DataType) -> Option<Kernel> {
    use DataType as T;
    let to = to.clone();
    match (from, &to) {
        (from, T::Int8 | T::Int16 | T::Int32) if from.is_integer() => {
            if from.primitive_width() <= to.primitive_width() {
                return None;
            }
            Some(Box::new(move |column| {
                let column = arrow_cast(column, &DataType::Int64)?;
                Ok(narrowed(column.as_primitive::<Int64Type>(), &to))
            }))
        }
        (T::Float32 | T::Float64, T::Int8 | T::Int16 | T::Int32 | T::Int64) => {
            Some(Box::new(move |column| {
                let column = arrow_cast(column, &DataType::Float64)?;
                let column = column.as_primitive::<Float64Type>();
                // The casts stop at the ends of the range and make 0 of NaN, as Java's; smaller types take an INT's low bits.
                #[expect(clippy::cast_possible_truncation, reason = "saturating is meant")]
                Ok(match &to {
                    DataType::Int64 => Arc::new(column.unary::<_, Int64Type>(|value| value as i64)),
                    to => narrowed(&column.unary::<_, Int64Type>(|value| i64::from(value as i32)), to),
                })
            }))
        }
        (T::Float32 | T::Float64, T::Decimal128(precision, scale)) => {
            let (precision, scale) = (*precision, *scale);
            Some(Box::new(move |column| {
                let column = arrow_cast(column, &DataType::Float64)?;
                let column = column.as_primitive::<Float64Type>();
                let mut buffer = String::new();
                let values = column.iter().map(|value| decimal_of(value?, precision, scale, &mut buffer));
                Ok(Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(precision, scale)?))
            }))
        }
        (from, T::Decimal128(precision, scale))
            if from.is_integer() || matches!(from, T::Boolean | T::Decimal128(..)) =>
        {
            let (precision, scale) = (*precision, *scale);
            let is_decimal = matches!(from, T::Decimal128(..));
            Some(Box::new(move |column| {
                let column = if is_decimal {
                    Arc::clone(column)
                } else {
                    arrow_cast(&arrow_cast(column, &DataType::Int64)?, &DataType::Decimal128(19, 0))?
                };
                let (values, from) = decimals(&column)?;
                let values = values
                    .iter()
                    .map(|value| within(rescaled(i256::from_i128(value?), from, scale.into())?, precision));
                Ok(Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(precision, scale)?))
            }))
        }
        (T::Decimal128(..), T::Int8 | T::Int16 | T::Int32 | T::Int64) => Some(Box::new(move |column| {
            let (values, scale) = decimals(column)?;
            let one = 10_i128.pow(scale.unsigned_abs());
            #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
            let whole: PrimitiveArray<Int64Type> =
                values.iter().map(|value| Some((value? / one) as i64)).collect();
            Ok(narrowed(&whole, &to))
        })),
        (T::Decimal128(..), T::Float64) => {
            Some(Box::new(|column| Ok(Arc::new(doubles::<Float64Type>(column, |value| value)?))))
        }
        #[expect(clippy::cast_possible_truncation, reason = "a FLOAT is asked for")]
        (T::Decimal128(..), T::Float32) => {
            Some(Box::new(|column| Ok(Arc::new(doubles::<Float32Type>(column, |value| value as f32)?))))
        }
        (T::Decimal128(..), T::Boolean) => Some(Box::new(|column| {
            let (values, _) = decimals(column)?;
            Ok(Arc::new(values.iter().map(|value| Some(value? != 0)).collect::<BooleanArray>()))
        })),
        _ => None,
    }
}

/// The low bits.
fn narrowed(column: &PrimitiveArray<Int64Type>, to: &DataType) -> ArrayRef {
    #![expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
    match to {
        DataType::Int8 => Arc::new(column.unary::<_, Int8Type>(|value| value as i8)),
        DataType::Int16 => Arc::new(column.unary::<_, Int16Type>(|value| value as i16)),
        DataType::Int32 => Arc::new(column.unary::<_, Int32Type>(|value| value as i32)),
        _ => Arc::new(column.clone()),
    }
}

fn doubles<T: ArrowPrimitiveType>(column: &ArrayRef, of: fn(f64) -> T::Native) -> Result<PrimitiveArray<T>> {
    let (values, scale) = decimals(column)?;
    Ok(values.iter().map(|value| Some(of(double_of(value?, scale)))).collect())
}

/// The nearest double.
fn double_of(value: i128, scale: i32) -> f64 {
    #![expect(clippy::cast_precision_loss, reason = "only values that fit exactly")]
    // Both sides of the division are exact, so its result is the nearest.
    if value.unsigned_abs() <= 1 << 53 && scale <= 22 {
        return value as f64 / 10f64.powi(scale);
    }
    format!("{value}e-{scale}").parse().unwrap_or(f64::NAN)
}

/// The shortest decimal that stands for `value`, rounded half up to `scale`; `None` if it does not fit.
pub(super) fn decimal_of(value: f64, precision: u8, scale: i8, buffer: &mut String) -> Option<i128> {
    use std::fmt::Write;
    if !value.is_finite() {
        return None;
    }
    buffer.clear();
    let _ = write!(buffer, "{value:e}");
    decimal_in(buffer, precision, scale)
}

/// The decimal written in `text`, digits with a point and an exponent, rounded half up.
pub(super) fn decimal_in(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = i256::ZERO;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return None;
        }
        value =
            value.checked_mul(i256::from_i128(10))?.checked_add(i256::from_i128((digit - b'0').into()))?;
    }
    if negative {
        value = value.checked_neg()?;
    }
    let from = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if from - i32::from(scale) > 76 {
        return Some(0);
    }
    within(rescaled(value, from, scale.into())?, precision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_half_up_and_overflow_to_nothing() {
        assert_eq!(decimal_in("12.345", 10, 2), Some(1235));
        assert_eq!(decimal_in("-12.345", 10, 2), Some(-1235));
        assert_eq!(decimal_in("1e3", 10, 2), Some(100_000));
        assert_eq!(decimal_in("1e30", 10, 2), None);
        assert_eq!(decimal_in("1e-300", 10, 2), Some(0));
        assert_eq!(decimal_in("abc", 10, 2), None);
        assert_eq!(double_of(12345, 3), 12.345);
        assert_eq!(double_of(10_i128.pow(37), 38), 0.1);
    }
}
