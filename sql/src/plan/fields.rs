//! `row.field`: access to a field of a ROW.
//!
//! Arrow keeps a child's validity apart from its parent's; here a field of a NULL row is NULL.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, StructArray};
use arrow_schema::{DataType, Field, FieldRef};
use arrow_select::nullif::nullif;
use datafusion_common::{Column, Result, ScalarValue, TableReference, plan_err};
use datafusion_expr::planner::{ExprPlanner, PlannerResult};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};
use millstream_engine::suggest::did_you_mean;
use parking_lot::Mutex;

use super::error::PlanError;

/// Name of the function that field access is planned as.
pub(super) const NAME: &str = "row_field";

/// Plans `a.b.c` on ROW columns.
#[derive(Debug, Default)]
pub(super) struct FieldPlanner {
    /// The planner asks several planners and forgets their errors; the first is kept here.
    pub error: Arc<Mutex<Option<PlanError>>>,
}

impl ExprPlanner for FieldPlanner {
    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let mut expr = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let mut kind = field.data_type().clone();
        let mut last = field.name().clone();
        // A name of its own for each field, for aggregates are named after what they are of; names.rs gives columns theirs.
        let mut path = qualifier.map_or_else(String::new, |qualifier| format!("{qualifier}."));
        path.push_str(field.name());
        for name in nested {
            let DataType::Struct(fields) = &kind else {
                let error = PlanError::new(format!("'{last}' is no ROW, so it has no field '{name}'"));
                self.error.lock().get_or_insert(error.clone());
                return Err(error.into());
            };
            let Some(found) = fields.iter().find(|field| field.name() == name) else {
                let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                let near = did_you_mean(name, names.iter().copied());
                let near = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
                let error = PlanError::new(format!("the ROW '{last}' has no field '{name}'"))
                    .remedy(format!("{near}Its fields are: {}", names.join(", ")));
                self.error.lock().get_or_insert(error.clone());
                return Err(error.into());
            };
            kind = found.data_type().clone();
            last.clone_from(name);
            path = format!("{path}.{name}");
            expr = access(expr, name);
        }
        Ok(PlannerResult::Planned(expr.alias(path)))
    }
}

/// `expr.name`.
pub(crate) fn access(expr: Expr, name: &str) -> Expr {
    function().call(vec![expr, lit(name)])
}

/// The function that accesses are calls of.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(RowField::new())
}

/// The row and field name of an access.
pub(crate) fn as_access(expr: &Expr) -> Option<(&Expr, &str)> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == NAME => match call.args.as_slice() {
            [row, Expr::Literal(ScalarValue::Utf8(Some(name)), _)] => Some((row, name)),
            _ => None,
        },
        _ => None,
    }
}

/// The field `name` of `row`, NULL where the row is.
pub(crate) fn field_of(row: &StructArray, name: &str) -> Option<ArrayRef> {
    let child = row.column_by_name(name)?;
    let Some(nulls) = row.nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Some(Arc::clone(child));
    };
    let is_null = BooleanArray::new(!nulls.inner(), None);
    nullif(child, &is_null).ok()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowField {
    signature: Signature,
}

impl RowField {
    fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for RowField {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        plan_err!("the type of a field depends on its name")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let name = match arguments.scalar_arguments.get(1) {
            Some(Some(ScalarValue::Utf8(Some(name)))) => name,
            _ => return plan_err!("the name of a field is missing"),
        };
        match arguments.arg_fields[0].data_type() {
            DataType::Struct(fields) => match fields.iter().find(|field| field.name() == name) {
                Some(field) => Ok(Arc::new(field.as_ref().clone().with_nullable(true))),
                None => plan_err!("there is no field '{name}'"),
            },
            other => plan_err!("a value of type {other} has no field '{name}'"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))) = &arguments.args[1] else {
            return plan_err!("the name of a field is missing");
        };
        let row = arguments.args[0].to_array(arguments.number_rows)?;
        match row.as_any().downcast_ref::<StructArray>().and_then(|row| field_of(row, name)) {
            Some(field) => Ok(ColumnarValue::Array(field)),
            None => plan_err!("there is no field '{name}'"),
        }
    }
}
