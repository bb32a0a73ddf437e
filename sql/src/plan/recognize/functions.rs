//! Functions that exist only in MATCH_RECOGNIZE, as the planner sees them: FIRST, LAST, MATCH_ROWTIME. What they read is in
//! lower/recognize.rs.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The first and the last row of a variable, and when a match was certain: functions that exist only here.
pub(crate) const FIRST: &str = "first";
pub(crate) const LAST: &str = "last";
pub(crate) const ROWTIME: &str = "match_rowtime";
pub(super) const PROCTIME: &str = "match_proctime";

/// True for the names of functions that exist only here.
pub(in crate::plan) fn is_function(name: &str) -> bool {
    [FIRST, LAST, ROWTIME, PROCTIME].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What to write instead of a function of the standard's that Flink does not have.
pub(in crate::plan) fn instead_of(name: &str) -> Option<&'static str> {
    match name.to_ascii_uppercase().as_str() {
        "PREV" => Some("write LAST(A.x, 1), which is the row before among those of A"),
        "NEXT" => Some("a definition sees the rows up to its own; compare in that of the next variable"),
        "CLASSIFIER" | "MATCH_NUMBER" => Some("leave it out; COUNT(A.x) says how many rows A has"),
        _ => None,
    }
}

/// FIRST, LAST or MATCH_ROWTIME.
pub(in crate::plan) fn function(name: &str) -> Option<ScalarUDF> {
    let name = [FIRST, LAST, ROWTIME].into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    let signature = match name {
        ROWTIME => Signature::one_of(
            vec![datafusion_expr::TypeSignature::Nullary, datafusion_expr::TypeSignature::Any(1)],
            Volatility::Volatile,
        ),
        _ => Signature::one_of(
            vec![datafusion_expr::TypeSignature::Any(1), datafusion_expr::TypeSignature::Any(2)],
            Volatility::Immutable,
        ),
    };
    Some(ScalarUDF::from(Planned { name, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Planned {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Planned {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        // Without a column it is a TIMESTAMP(3), as in Flink.
        let plain = DataType::Timestamp(TimeUnit::Millisecond, None);
        Ok(arguments.first().cloned().unwrap_or(plain))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let kinds: Vec<DataType> =
            arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name, self.return_type(&kinds)?, true)))
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        not_impl_err!("{} is read by the pattern's operator", self.name)
    }
}
