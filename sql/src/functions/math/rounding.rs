//! ROUND, TRUNCATE, CEIL, FLOOR, SIGN, ABS: a number in, a number of (nearly) the same type out.
//!
//! A DOUBLE is rounded as the shortest decimal that stands for it, as Java's BigDecimal.valueOf does: ROUND(1.005, 2)
//! is 1.01, whatever its binary value.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, Decimal128Array, PrimitiveArray};
use arrow_buffer::i256;
use arrow_schema::DataType;
use datafusion_common::{Result, internal_err};
use datafusion_expr::ScalarUDF;

use super::decimal::{WIDEST, decimals, rescaled, within};
use crate::functions::call::Call;
use crate::functions::function::{Function, Given, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Number, Whole};
    let make = |name, usage, about, rounding: Rounding| {
        Function::new(Subject::Math, name, usage, about, &[Number], DataType::Float64, move |call| {
            compute(call, rounding)
        })
        .accepts(of_number)
        .returns(move |given| result_type(given, rounding))
    };
    vec![
        make("round", "ROUND(number [, digits])", "Rounded half up to so many digits of the fraction, 0 if left out; negative ones round before the point.", Rounding::HalfUp)
            .optional(&[Whole])
            .build(),
        make("truncate", "TRUNCATE(number [, digits])", "Cut to so many digits of the fraction, 0 if left out.", Rounding::Down).optional(&[Whole]).build(),
        make("ceil", "CEIL(number)", "The least whole number not below; CEIL(time TO unit) rounds a time.", Rounding::Ceiling).aliases(&["ceiling"]).build(),
        make("floor", "FLOOR(number)", "The greatest whole number not above; FLOOR(time TO unit) rounds a time.", Rounding::Floor).build(),
        make("abs", "ABS(number)", "Without the sign.", Rounding::Abs).build(),
        make("sign", "SIGN(number)", "-1, 0 or 1.", Rounding::Sign).build(),
    ]
}

/// NULL without a type is a DOUBLE here.
fn of_number(types: &[DataType]) -> Option<Vec<DataType>> {
    let mut types = types.to_vec();
    if let Some(first) = types.first_mut().filter(|first| first.is_null()) {
        *first = DataType::Float64;
    }
    Some(types)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    HalfUp,
    Down,
    Ceiling,
    Floor,
    Abs,
    Sign,
}

fn result_type(given: &Given<'_>, rounding: Rounding) -> Option<DataType> {
    let DataType::Decimal128(precision, scale) = given.types[0] else { return Some(given.types[0].clone()) };
    let whole = precision.saturating_sub(scale.unsigned_abs());
    Some(match rounding {
        Rounding::HalfUp | Rounding::Down => {
            let digits = if given.types.len() > 1 { given.whole(1) } else { Some(0) };
            match digits {
                // Digits that vary from row to row keep the type.
                None => DataType::Decimal128(precision, scale),
                Some(digits) if digits >= i64::from(scale) => DataType::Decimal128(precision, scale),
                Some(digits) if digits < 0 => DataType::Decimal128((whole + 1).min(WIDEST), 0),
                Some(digits) => {
                    let digits = i8::try_from(digits).ok()?;
                    DataType::Decimal128((whole + 1 + digits.unsigned_abs()).min(WIDEST), digits)
                }
            }
        }
        Rounding::Ceiling | Rounding::Floor => DataType::Decimal128(precision, 0),
        Rounding::Abs | Rounding::Sign => DataType::Decimal128(precision, scale),
    })
}

fn compute(call: &Call<'_>, rounding: Rounding) -> Result<ArrayRef> {
    let numbers = call.column(0)?;
    let digits = if call.len() > 1 { Some(call.wholes(1)?) } else { None };
    // `None` where the number of digits is NULL.
    let digits = |row: usize| -> Option<i32> {
        match &digits {
            Some(digits) => Some(i32::try_from(digits.get(row)?.clamp(-400, 400)).unwrap_or(0)),
            None => Some(0),
        }
    };
    match numbers.data_type() {
        DataType::Float64 => each::<Float64Type>(&numbers, digits, |value, digits| {
            real(value, digits, rounding, &mut String::new())
        }),
        DataType::Float32 => each::<Float32Type>(&numbers, digits, |value, digits| {
            #[expect(clippy::cast_possible_truncation, reason = "a FLOAT comes out as a FLOAT")]
            Some(real(f64::from(value), digits, rounding, &mut String::new())? as f32)
        }),
        DataType::Int8 => each::<Int8Type>(&numbers, digits, |value, digits| {
            Some(wrapped(whole(value.into(), digits, rounding)))
        }),
        DataType::Int16 => each::<Int16Type>(&numbers, digits, |value, digits| {
            Some(wrapped(whole(value.into(), digits, rounding)))
        }),
        DataType::Int32 => each::<Int32Type>(&numbers, digits, |value, digits| {
            Some(wrapped(whole(value.into(), digits, rounding)))
        }),
        DataType::Int64 => {
            each::<Int64Type>(&numbers, digits, |value, digits| Some(wrapped(whole(value, digits, rounding))))
        }
        DataType::Decimal128(..) => {
            let DataType::Decimal128(precision, to) = *call.returns else {
                return internal_err!("a DECIMAL rounds to a DECIMAL");
            };
            let (values, scale) = decimals(&numbers)?;
            let results = (0..call.rows).map(|row| {
                let digits = digits(row)?;
                values
                    .is_valid(row)
                    .then(|| exact(values.value(row), scale, digits, rounding, (precision, to.into())))?
            });
            Ok(Arc::new(results.collect::<Decimal128Array>().with_precision_and_scale(precision, to)?))
        }
        other => internal_err!("a number came as {other}"),
    }
}

fn each<T: ArrowPrimitiveType>(
    numbers: &ArrayRef,
    digits: impl Fn(usize) -> Option<i32>,
    of: impl Fn(T::Native, i32) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let numbers = numbers.as_primitive::<T>();
    let results = (0..numbers.len()).map(|row| {
        let digits = digits(row)?;
        numbers.is_valid(row).then(|| of(numbers.value(row), digits))?
    });
    Ok(Arc::new(results.collect::<PrimitiveArray<T>>()))
}

/// The low bits, as Java's narrowing keeps them.
fn wrapped<T: TryFrom<i64> + Wrapping>(value: i64) -> T {
    T::try_from(value).unwrap_or_else(|_| T::wrapping(value))
}

trait Wrapping {
    fn wrapping(value: i64) -> Self;
}

macro_rules! wraps {
    ($($kind:ty),*) => {$(
        impl Wrapping for $kind {
            #[allow(clippy::cast_possible_truncation)]
            fn wrapping(value: i64) -> Self {
                value as $kind
            }
        }
    )*};
}

wraps!(i8, i16, i32, i64);

fn whole(value: i64, digits: i32, rounding: Rounding) -> i64 {
    match rounding {
        Rounding::Abs => value.wrapping_abs(),
        Rounding::Sign => value.signum(),
        Rounding::HalfUp | Rounding::Down if digits < 0 => {
            let value = rounded(i256::from_i128(value.into()), 0, digits, rounding == Rounding::HalfUp);
            value.and_then(i256::to_i128).map_or(0, |value| {
                #[expect(clippy::cast_possible_truncation, reason = "Java's longValue keeps the low bits")]
                let low = value as i64;
                low
            })
        }
        _ => value,
    }
}

/// `value` of scale `scale` rounded to `digits` of the fraction, at the same scale.
fn rounded(value: i256, scale: i32, digits: i32, half_up: bool) -> Option<i256> {
    if digits >= scale {
        return Some(value);
    }
    if scale - digits > 76 {
        return Some(i256::ZERO);
    }
    let factor = super::decimal::power_of_ten((scale - digits).unsigned_abs())?;
    let units = if half_up { super::decimal::divided(value, factor)? } else { value.checked_div(factor)? };
    units.checked_mul(factor)
}

fn exact(
    value: i128,
    scale: i32,
    digits: i32,
    rounding: Rounding,
    (precision, to): (u8, i32),
) -> Option<i128> {
    let wide = i256::from_i128(value);
    let one = super::decimal::power_of_ten(scale.unsigned_abs())?;
    let result = match rounding {
        Rounding::HalfUp => rounded(wide, scale, digits, true)?,
        Rounding::Down => rounded(wide, scale, digits, false)?,
        Rounding::Abs => wide.checked_abs()?,
        Rounding::Sign => one.checked_mul(i256::from_i128(value.signum()))?,
        Rounding::Ceiling | Rounding::Floor => {
            let cut = rounded(wide, scale, 0, false)?;
            match rounding {
                Rounding::Ceiling if wide > cut => cut.checked_add(one)?,
                Rounding::Floor if wide < cut => cut.checked_sub(one)?,
                _ => cut,
            }
        }
    };
    within(rescaled(result, scale, to)?, precision)
}

fn real(value: f64, digits: i32, rounding: Rounding, buffer: &mut String) -> Option<f64> {
    Some(match rounding {
        Rounding::Ceiling => value.ceil(),
        Rounding::Floor => value.floor(),
        Rounding::Abs => value.abs(),
        Rounding::Sign => {
            if value == 0.0 || value.is_nan() {
                value
            } else {
                value.signum()
            }
        }
        Rounding::HalfUp | Rounding::Down => {
            by_decimal_digits(value, digits, rounding == Rounding::HalfUp, buffer)
        }
    })
}

/// Rounds the shortest decimal that stands for `value`.
fn by_decimal_digits(value: f64, digits: i32, half_up: bool, buffer: &mut String) -> f64 {
    use std::fmt::Write;
    if !value.is_finite() || digits > 330 {
        return value;
    }
    // `d.ddde-x`: the digits and the place of the point.
    buffer.clear();
    let _ = write!(buffer, "{:e}", value.abs());
    let Some((mantissa, exponent)) = buffer.split_once('e') else { return value };
    let Ok(exponent) = exponent.parse::<i32>() else { return value };
    let fraction =
        mantissa.split_once('.').map_or(0, |(_, fraction)| i32::try_from(fraction.len()).unwrap_or(0));
    let Ok(units) = mantissa.replace('.', "").parse::<i128>() else { return value };
    let scale = fraction - exponent;
    // Now |value| = units / 10^scale, with at most 17 digits in units.
    let dropped = scale - digits;
    if dropped <= 0 {
        return value;
    }
    if dropped > 20 {
        return 0.0_f64.copysign(value);
    }
    let factor = 10_i128.pow(dropped.unsigned_abs());
    let kept = if half_up { (units + factor / 2) / factor } else { units / factor };
    let result = format!("{kept}e{}", -digits).parse::<f64>().unwrap_or(value);
    result.copysign(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_round_by_their_decimal_digits() {
        let round = |value, digits| by_decimal_digits(value, digits, true, &mut String::new());
        assert_eq!(round(1.005, 2), 1.01);
        assert_eq!(round(-2.5, 0), -3.0);
        assert_eq!(round(12345.678, -2), 12300.0);
        assert_eq!(round(1e300, 2), 1e300);
        assert_eq!(round(1e-300, 2), 0.0);
        assert!(round(f64::NAN, 2).is_nan());
    }
}
