//! Scalar functions with Flink's meaning: the registry of everything a query can call by name, the casts, and the
//! names of types.
//!
//! A module here is a subject (text, math, …) and contributes through one line in [`all`]. One function is one
//! [`function::Function`]: its names, what it takes, its sentence in docs/functions.md, and a kernel over whole columns. Names
//! reach a query through plan/context.rs; typing.rs gives every call of a plan its types before DataFusion's own
//! coercion sees it; lower/columns.rs puts [`cast`] in the place of casts.
//!
//! Invariants: a kernel never panics on a value, a constant argument is worked out once and not once a row, and an
//! error of types names the function and what it takes.

mod call;
mod cast;
mod catalog;
mod collections;
mod conditional;
mod custom;
#[cfg(test)]
mod docs;
mod function;
mod hash;
mod json;
mod kinds;
mod math;
mod operators;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod time;
mod typing;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::DataType;
use datafusion_expr::ScalarUDF;

pub use catalog::{CatalogEntry, catalog};
pub(crate) use collections::{list_of, map_of};
pub use custom::ScalarFunction;
pub(crate) use custom::planned;
pub(crate) use millstream_engine::type_name;
pub(crate) use operators::OperatorPlanner;
pub(crate) use typing::{type_expression, type_plan};

/// What functions may depend on beside their arguments.
#[derive(Clone)]
pub struct FunctionContext {
    /// The clock.
    pub clock: millstream_engine::ClockRef,
    /// The session's zone.
    pub time_zone: chrono_tz::Tz,
    /// Seed of random functions.
    pub seed: u64,
}

/// Every function that has a name in SQL, subject by subject.
fn all(context: &FunctionContext) -> Vec<Arc<ScalarUDF>> {
    [
        text::functions(),
        math::functions(context),
        conditional::functions(),
        json::functions(),
        collections::functions(),
        hash::functions(),
        kinds::functions(),
        time::functions(context),
    ]
    .concat()
}

/// Every scalar function by its lower-case name.
pub fn scalar_functions(context: &FunctionContext) -> HashMap<String, Arc<ScalarUDF>> {
    let mut named = HashMap::new();
    for function in all(context) {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            named.insert(name.to_ascii_lowercase(), Arc::clone(&function));
        }
    }
    named
}

/// True for a function that has a value for all rows.
pub(crate) fn never_fails(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<function::Function>().is_some_and(|function| function.never_fails)
}

/// The function that casts where Flink's meaning differs from arrow's.
pub fn cast(
    from: &DataType,
    to: &DataType,
    try_cast: bool,
    context: &FunctionContext,
) -> Option<Arc<ScalarUDF>> {
    cast::function(from, to, try_cast, context)
}
