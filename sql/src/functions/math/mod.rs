//! Functions of numbers, and the arithmetic of DECIMALs.

pub(super) mod decimal;
mod random;
mod real;
mod rounding;

use std::sync::Arc;

use datafusion_expr::ScalarUDF;

use super::FunctionContext;

pub(super) fn functions(context: &FunctionContext) -> Vec<Arc<ScalarUDF>> {
    [real::functions(), rounding::functions(), random::functions(context)].concat()
}
