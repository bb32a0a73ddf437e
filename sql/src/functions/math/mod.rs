//! Functions of numbers, and the arithmetic of DECIMALs.

pub(super) mod decimal;
mod random;
mod real;
mod rounding;

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion_common::internal_err;
use datafusion_expr::ScalarUDF;

use super::FunctionContext;
use super::function::{Function, Kind, Subject};

pub(super) fn functions(context: &FunctionContext) -> Vec<Arc<ScalarUDF>> {
    [real::functions(), rounding::functions(), random::functions(context), vec![remainder()]].concat()
}

/// MOD, which typing.rs makes `%` of.
fn remainder() -> Arc<ScalarUDF> {
    let about = "The remainder, as number % divisor.";
    let takes = &[Kind::Number, Kind::Number];
    Function::new(Subject::Math, "mod", "MOD(number, divisor)", about, takes, DataType::Null, |_| {
        internal_err!("MOD is %")
    })
    .returns(|given| given.types.get(1).cloned())
    .build()
}
