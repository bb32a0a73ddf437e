//! Functions of DOUBLEs: powers, logarithms, trigonometry. Out of a function's domain the answer is NaN or an infinity.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array};
use arrow_schema::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

const ONE: &[Kind] = &[Kind::Double];
const TWO: &[Kind] = &[Kind::Double, Kind::Double];

/// Name, usage, sentence and what it does.
type Unary = (&'static str, &'static str, &'static str, fn(f64) -> f64);

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let one: [Unary; 22] = [
        ("sqrt", "SQRT(number)", "The square root.", f64::sqrt),
        ("ln", "LN(number)", "The natural logarithm.", f64::ln),
        ("log10", "LOG10(number)", "The logarithm to base 10.", f64::log10),
        ("log2", "LOG2(number)", "The logarithm to base 2.", |x| x.ln() / 2f64.ln()),
        ("exp", "EXP(number)", "e to that power.", f64::exp),
        ("sin", "SIN(number)", "The sine.", f64::sin),
        ("cos", "COS(number)", "The cosine.", f64::cos),
        ("tan", "TAN(number)", "The tangent.", f64::tan),
        ("cot", "COT(number)", "The cotangent.", |x| 1.0 / x.tan()),
        ("sinh", "SINH(number)", "The hyperbolic sine.", f64::sinh),
        ("cosh", "COSH(number)", "The hyperbolic cosine.", f64::cosh),
        ("tanh", "TANH(number)", "The hyperbolic tangent.", f64::tanh),
        ("asin", "ASIN(number)", "The arc sine.", f64::asin),
        ("acos", "ACOS(number)", "The arc cosine.", f64::acos),
        ("atan", "ATAN(number)", "The arc tangent.", f64::atan),
        ("degrees", "DEGREES(number)", "Radians in degrees.", f64::to_degrees),
        ("radians", "RADIANS(number)", "Degrees in radians.", f64::to_radians),
        ("cbrt", "CBRT(number)", "The cube root.", f64::cbrt),
        ("asinh", "ASINH(number)", "The inverse hyperbolic sine.", f64::asinh),
        ("acosh", "ACOSH(number)", "The inverse hyperbolic cosine.", f64::acosh),
        ("atanh", "ATANH(number)", "The inverse hyperbolic tangent.", f64::atanh),
        ("trunc", "TRUNC(number)", "Without the fraction.", f64::trunc),
    ];
    let extensions = ["cbrt", "asinh", "acosh", "atanh", "trunc"];
    let mut all: Vec<Arc<ScalarUDF>> = one
        .into_iter()
        .map(|(name, usage, about, of)| {
            let function =
                Function::new(Subject::Math, name, usage, about, ONE, DataType::Float64, move |call| {
                    unary(call, of)
                });
            if extensions.contains(&name) { function.extension().build() } else { function.build() }
        })
        .collect();
    let two = |name, usage, about, of: fn(f64, f64) -> f64| {
        Function::new(Subject::Math, name, usage, about, TWO, DataType::Float64, move |call| binary(call, of))
    };
    all.extend([
        two("power", "POWER(number, exponent)", "The number to that power, a DOUBLE.", f64::powf)
            .aliases(&["pow"])
            .build(),
        two("atan2", "ATAN2(y, x)", "The angle of a point.", f64::atan2).build(),
        Function::new(
            Subject::Math,
            "log",
            "LOG([base,] number)",
            "The logarithm to a base, e if left out.",
            ONE,
            DataType::Float64,
            |call| {
                if call.len() == 1 {
                    unary(call, f64::ln)
                } else {
                    binary(call, |base, x| x.ln() / base.ln())
                }
            },
        )
        .optional(ONE)
        .build(),
        constant(
            "pi",
            "PI()",
            "The ratio of a circle's circumference to its diameter.",
            std::f64::consts::PI,
        ),
        constant("e", "E()", "The base of natural logarithms.", std::f64::consts::E),
    ]);
    all
}

fn constant(name: &'static str, usage: &'static str, about: &'static str, value: f64) -> Arc<ScalarUDF> {
    Function::new(Subject::Math, name, usage, about, &[], DataType::Float64, move |call| {
        Ok(Arc::new(Float64Array::from_value(value, call.rows)))
    })
    .build()
}

fn unary(call: &Call<'_>, of: fn(f64) -> f64) -> Result<ArrayRef> {
    let values = call.doubles(0)?;
    if let crate::functions::call::Values::Column(column) = values {
        return Ok(Arc::new(column.unary::<_, arrow_array::types::Float64Type>(of)));
    }
    call.double(|row| values.get(row).map(of))
}

fn binary(call: &Call<'_>, of: impl Fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (a, b) = (call.doubles(0)?, call.doubles(1)?);
    call.double(|row| Some(of(a.get(row)?, b.get(row)?)))
}
