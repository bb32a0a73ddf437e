//! Scalar functions of a program's own, which SQL calls by name.
//!
//! Where one of ours has its types given by typing.rs, a custom one says them itself: what its arguments are cast to
//! ([`ScalarFunction::arguments`]) and what it returns. It works on whole columns.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion_common::{DataFusionError, Result as PlanResult};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use millstream_engine::{Error, Result};

use crate::plan::error::PlanError;

/// A function from columns to a column.
pub trait ScalarFunction: Send + Sync {
    /// Its name in SQL, whatever the case.
    fn name(&self) -> &str;

    /// One sentence, for lists of functions.
    fn about(&self) -> &str {
        ""
    }

    /// The types that arguments of types `given` are cast to.
    ///
    /// # Errors
    /// If it does not take such arguments; say what it takes.
    fn arguments(&self, given: &[DataType]) -> Result<Vec<DataType>>;

    /// The type of its result for arguments of these types, which [`ScalarFunction::arguments`] has answered.
    ///
    /// # Errors
    /// If there is none.
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType>;

    /// The results for `rows` rows; every argument is a column of that many.
    ///
    /// # Errors
    /// Ends the job: answer NULL for a row whose values make no sense.
    fn evaluate(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef>;

    /// False when equal arguments may give other results.
    fn is_deterministic(&self) -> bool {
        true
    }
}

/// `function` as the planner knows functions.
pub(crate) fn planned(function: Arc<dyn ScalarFunction>) -> ScalarUDF {
    let volatility = if function.is_deterministic() { Volatility::Immutable } else { Volatility::Volatile };
    ScalarUDF::from(Custom {
        name: function.name().to_ascii_lowercase(),
        function,
        signature: Signature::user_defined(volatility),
    })
}

struct Custom {
    name: String,
    function: Arc<dyn ScalarFunction>,
    signature: Signature,
}

fn planning(error: Error) -> DataFusionError {
    PlanError::from(error).into()
}

impl ScalarUDFImpl for Custom {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> PlanResult<Vec<DataType>> {
        let wanted = self.function.arguments(given).map_err(planning)?;
        if wanted.len() == given.len() {
            return Ok(wanted);
        }
        let (name, wanted, given) = (self.function.name(), wanted.len(), given.len());
        Err(planning(Error::config(format!("{name} takes {wanted} arguments, found {given}"))))
    }

    fn return_type(&self, arguments: &[DataType]) -> PlanResult<DataType> {
        self.function.return_type(arguments).map_err(planning)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let rows = call.number_rows;
        let columns = ColumnarValue::values_to_arrays(&call.args)?;
        // Constants come as columns of one row.
        let columns: Vec<ArrayRef> = match columns.iter().any(|column| column.len() != rows) {
            false => columns,
            true => call.args.iter().map(|argument| argument.to_array(rows)).collect::<PlanResult<_>>()?,
        };
        let result = self
            .function
            .evaluate(&columns, rows)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        if result.len() != rows || result.data_type() != call.return_field.data_type() {
            return Err(DataFusionError::External(Box::new(Error::internal(format!(
                "the function {} answered {} rows of {}, {rows} of {} were asked",
                self.function.name(),
                result.len(),
                result.data_type(),
                call.return_field.data_type()
            )))));
        }
        Ok(ColumnarValue::Array(result))
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Custom {}

impl Hash for Custom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}
