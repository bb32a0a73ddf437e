//! Scalar functions with Flink's meaning.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::DataType;
use datafusion_expr::ScalarUDF;

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

/// Every scalar function by its lower-case name.
pub fn scalar_functions(_context: &FunctionContext) -> HashMap<String, Arc<ScalarUDF>> {
    HashMap::new()
}

/// The function that casts where Flink's meaning differs from arrow's.
pub fn cast(_from: &DataType, _to: &DataType, _try_cast: bool, _context: &FunctionContext) -> Option<Arc<ScalarUDF>> {
    None
}

/// SQL's name of a type.
pub fn type_name(data_type: &DataType) -> String {
    data_type.to_string()
}
