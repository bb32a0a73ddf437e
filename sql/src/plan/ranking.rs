//! Functions that exist only with OVER, as the planner sees them: names and types. What they do is in the operators crate.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};

/// The row's place in its partition.
pub(crate) const ROW_NUMBER: &str = "row_number";

/// The value of a row before.
pub(crate) const LAG: &str = "lag";

/// Aggregates that DataFusion's planner wants to have as functions of their own where they stand with OVER.
pub(crate) const FIRST_VALUE: &str = "first_value";
pub(crate) const LAST_VALUE: &str = "last_value";

/// All of them, by lower-case name.
pub(super) fn window_function(name: &str) -> Option<Arc<WindowUDF>> {
    let all = [ROW_NUMBER, LAG, FIRST_VALUE, LAST_VALUE];
    let known = all.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    let signature = if known == ROW_NUMBER {
        Signature::nullary(Volatility::Immutable)
    } else {
        Signature::variadic_any(Volatility::Immutable)
    };
    Some(Arc::new(WindowUDF::from(Planned { name: known, signature })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Planned {
    name: &'static str,
    signature: Signature,
}

impl WindowUDFImpl for Planned {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _arguments: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        not_impl_err!("window functions run as operators")
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(match arguments.input_fields().first() {
            Some(argument) => Arc::new(Field::new(arguments.name(), argument.data_type().clone(), true)),
            None => Arc::new(Field::new(arguments.name(), DataType::Int64, false)),
        })
    }
}
