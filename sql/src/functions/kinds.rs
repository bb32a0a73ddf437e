//! TYPEOF.

use std::sync::Arc;

use arrow_array::StringArray;
use arrow_schema::DataType;
use datafusion_expr::ScalarUDF;

use super::function::{Function, Kind, Subject};
use millstream_engine::type_name;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Function::new(
            Subject::Type,
            "typeof",
            "TYPEOF(value)",
            "The name of the value's type; lengths of strings and NOT NULL are not shown.",
            &[Kind::Any],
            DataType::Utf8,
            |call| {
                let name = call.argument_type(0).map(|kind| type_name(&kind));
                Ok(Arc::new((0..call.rows).map(|_| name.as_deref()).collect::<StringArray>()))
            },
        )
        .build(),
    ]
}
