//! DECIMAL arithmetic with Flink's result types, rounding half up; what does not fit its type is NULL.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, Decimal128Array};
use arrow_buffer::i256;
use arrow_schema::DataType;
use datafusion_common::{Result, exec_err, internal_err};
use datafusion_expr::ScalarUDF;

use crate::functions::call::Call;
use crate::functions::function::{Function, Given, Kind, Subject};

/// Precision of the widest DECIMAL.
pub(in crate::functions) const WIDEST: u8 = 38;

/// Precision and scale.
pub(in crate::functions) type Shape = (u8, i8);

/// The DECIMAL that holds every value of a whole number's type; a DECIMAL itself.
pub(in crate::functions) fn shape_of(kind: &DataType) -> Option<Shape> {
    match kind {
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        _ => None,
    }
}

/// An operation on two numbers of which one is a DECIMAL at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::functions) enum Operation {
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Plus => "decimal_plus",
            Self::Minus => "decimal_minus",
            Self::Times => "decimal_times",
            Self::Divide => "decimal_divide",
            Self::Remainder => "decimal_remainder",
        }
    }

    /// The type of the result.
    pub fn shape(self, (p1, s1): Shape, (p2, s2): Shape) -> Shape {
        let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
        let (precision, scale) = match self {
            Self::Plus | Self::Minus => {
                let scale = s1.max(s2);
                ((p1 - s1).max(p2 - s2) + scale + 1, scale)
            }
            Self::Times => (p1 + p2 + 1, s1 + s2),
            Self::Divide => {
                let scale = (s1 + p2 + 1).max(6);
                (p1 - s1 + s2 + scale, scale)
            }
            Self::Remainder => {
                let scale = s1.max(s2);
                ((p1 - s1).min(p2 - s2) + scale, scale)
            }
        };
        fitted(precision, scale)
    }

    /// The function that does it.
    pub fn function(self) -> Arc<ScalarUDF> {
        let about = "An operation on DECIMALs.";
        Function::new(
            Subject::Math,
            self.name(),
            self.name(),
            about,
            &[Kind::Number, Kind::Number],
            DataType::Null,
            move |call| compute(self, call),
        )
        .returns(move |given: &Given<'_>| {
            let (precision, scale) = self.shape(shape_of(&given.types[0])?, shape_of(&given.types[1])?);
            Some(DataType::Decimal128(precision, scale))
        })
        .build()
    }
}

/// A type wider than the widest keeps its whole digits and gives up digits of the fraction, down to six.
fn fitted(precision: i32, scale: i32) -> Shape {
    let widest = i32::from(WIDEST);
    let (precision, scale) = if precision <= widest {
        (precision, scale)
    } else {
        (widest, (widest - (precision - scale)).max(scale.min(6)))
    };
    (u8::try_from(precision).unwrap_or(WIDEST), i8::try_from(scale).unwrap_or(0))
}

/// 10^n, which 256 bits hold up to n = 76.
pub(in crate::functions) fn power_of_ten(n: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(n)
}

/// `value` of scale `from` at scale `to`, rounded half up (away from zero); `None` if 256 bits do not hold it.
pub(in crate::functions) fn rescaled(value: i256, from: i32, to: i32) -> Option<i256> {
    let factor = power_of_ten((to - from).unsigned_abs())?;
    if to >= from { value.checked_mul(factor) } else { divided(value, factor) }
}

/// `a / b` rounded half up, away from zero.
pub(in crate::functions) fn divided(a: i256, b: i256) -> Option<i256> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    let twice = rest.checked_abs()?.checked_mul(i256::from_i128(2))?;
    if twice < b.checked_abs()? {
        return Some(quotient);
    }
    let up = if (a < i256::ZERO) == (b < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(up)
}

/// `value` if it has at most `precision` digits.
pub(in crate::functions) fn within(value: i256, precision: u8) -> Option<i128> {
    let value = value.to_i128()?;
    let limit = 10_i128.pow(u32::from(precision.min(WIDEST)));
    (-limit < value && value < limit).then_some(value)
}

/// An argument as DECIMALs and its scale.
pub(in crate::functions) fn decimals(column: &ArrayRef) -> Result<(&Decimal128Array, i32)> {
    match column.data_type() {
        DataType::Decimal128(_, scale) => Ok((column.as_primitive::<Decimal128Type>(), i32::from(*scale))),
        other => internal_err!("a DECIMAL came as {other}"),
    }
}

fn compute(operation: Operation, call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *call.returns else {
        return internal_err!("DECIMAL arithmetic gives DECIMALs");
    };
    let (a, b) = (call.column(0)?, call.column(1)?);
    let ((a, s1), (b, s2)) = (decimals(&a)?, decimals(&b)?);
    let to = i32::from(scale);
    let mut results: Vec<Option<i128>> = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if a.is_null(row) || b.is_null(row) {
            results.push(None);
            continue;
        }
        let (a, b) = (a.value(row), b.value(row));
        if b == 0 && matches!(operation, Operation::Divide | Operation::Remainder) {
            return exec_err!("Divide by zero");
        }
        results.push(one(operation, (a, s1), (b, s2), (precision, to)));
    }
    Ok(Arc::new(results.into_iter().collect::<Decimal128Array>().with_precision_and_scale(precision, scale)?))
}

fn one(
    operation: Operation,
    (a, s1): (i128, i32),
    (b, s2): (i128, i32),
    (precision, to): (u8, i32),
) -> Option<i128> {
    // Most values are small: 128 bits do for all but division.
    let narrow = match operation {
        Operation::Plus | Operation::Minus if s1 == s2 && s1 == to => {
            if operation == Operation::Plus {
                a.checked_add(b)
            } else {
                a.checked_sub(b)
            }
        }
        Operation::Times if s1 + s2 == to => a.checked_mul(b),
        _ => None,
    };
    if let Some(value) = narrow {
        return within(i256::from_i128(value), precision);
    }
    let (a, b) = (i256::from_i128(a), i256::from_i128(b));
    let common = s1.max(s2);
    let value = match operation {
        Operation::Plus => {
            rescaled(rescaled(a, s1, common)?.checked_add(rescaled(b, s2, common)?)?, common, to)?
        }
        Operation::Minus => {
            rescaled(rescaled(a, s1, common)?.checked_sub(rescaled(b, s2, common)?)?, common, to)?
        }
        Operation::Times => rescaled(a.checked_mul(b)?, s1 + s2, to)?,
        Operation::Divide => {
            let shift = to - s1 + s2;
            let factor = power_of_ten(shift.unsigned_abs())?;
            if shift >= 0 { divided(a.checked_mul(factor)?, b)? } else { divided(a, b.checked_mul(factor)?)? }
        }
        Operation::Remainder => {
            rescaled(rescaled(a, s1, common)?.checked_rem(rescaled(b, s2, common)?)?, common, to)?
        }
    };
    within(value, precision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_types_are_flinks() {
        assert_eq!(Operation::Plus.shape((10, 3), (10, 0)), (14, 3));
        assert_eq!(Operation::Divide.shape((10, 0), (2, 1)), (17, 6));
        assert_eq!(Operation::Times.shape((38, 10), (38, 10)), (38, 6));
    }

    #[test]
    fn division_rounds_half_up_away_from_zero() {
        let of = |a: i128, b: i128| divided(i256::from_i128(a), i256::from_i128(b)).and_then(i256::to_i128);
        assert_eq!(of(5, 2), Some(3));
        assert_eq!(of(-5, 2), Some(-3));
        assert_eq!(of(4, 3), Some(1));
        assert_eq!(of(5, -3), Some(-2));
        assert_eq!(of(5, 0), None);
    }

    #[test]
    fn what_does_not_fit_is_null() {
        assert_eq!(one(Operation::Times, (10_i128.pow(37), 0), (100, 0), (38, 0)), None);
        assert_eq!(one(Operation::Plus, (15, 1), (25, 2), (5, 2)), Some(175));
    }
}
