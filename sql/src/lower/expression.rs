//! DataFusion's physical expressions as the operators' [`Expression`]s.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray};
use arrow_schema::{DataType, FieldRef, Schema, TimeUnit};
use datafusion_common::{DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{BinaryExpr, ColumnarValue, Expr, Operator};
use datafusion_physical_expr::utils::collect_columns;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use millstream_engine::{Error, Result};
use millstream_operators::{Column, Expression, ExpressionRef};

use super::columns::{as_column, as_path, indexed};
use crate::plan::error::PlanError;
use crate::plan::fields::field_of;

/// Compiles an expression over numbered columns of `fields`.
pub(super) fn compile(expr: &Expr, fields: &[FieldRef]) -> std::result::Result<ExpressionRef, PlanError> {
    if let Some(index) = as_column(expr) {
        return Ok(Arc::new(Column(index)));
    }
    super::clocked::refuse(expr)?;
    if let Some(shift) = as_shift(expr, fields) {
        return Ok(Arc::new(shift));
    }
    if let Some((column, path)) = as_path(expr) {
        return Ok(Arc::new(Access { column, path }));
    }
    let physical = create_physical_expr(
        expr,
        &indexed(fields),
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )?;
    let columns = collect_columns(&physical).into_iter().map(|column| column.index()).collect();
    Ok(Arc::new(Physical { physical, columns }))
}

/// `ts - INTERVAL '5' SECOND`, the watermark of nearly every table: a column of milliseconds and a constant of hours or
/// less, which is the same on every clock. Arrow's kernel goes through the calendar for each row.
fn as_shift(expr: &Expr, fields: &[FieldRef]) -> Option<Shift> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let column = as_column(left)?;
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(by)), _) = right.as_ref() else { return None };
    let is_ms = matches!(fields.get(column)?.data_type(), DataType::Timestamp(TimeUnit::Millisecond, _));
    if !is_ms || by.months != 0 || by.days != 0 || by.nanoseconds % 1_000_000 != 0 {
        return None;
    }
    let by_ms = by.nanoseconds / 1_000_000;
    match op {
        Operator::Plus => Some(Shift { column, by_ms }),
        Operator::Minus => Some(Shift { column, by_ms: -by_ms }),
        _ => None,
    }
}

/// A column of timestamps, moved by a constant.
#[derive(Debug)]
struct Shift {
    column: usize,
    by_ms: i64,
}

impl Expression for Shift {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let times = rows
            .columns()
            .get(self.column)
            .and_then(|column| column.as_primitive_opt::<TimestampMillisecondType>());
        let times =
            times.ok_or_else(|| Error::internal(format!("column {} holds no timestamps", self.column)))?;
        let moved = times.unary::<_, TimestampMillisecondType>(|time| time.saturating_add(self.by_ms));
        Ok(Arc::new(moved.with_data_type(times.data_type().clone())))
    }

    fn columns_used(&self) -> Option<Vec<usize>> {
        Some(vec![self.column])
    }
}

/// The value of an expression without columns.
pub(super) fn constant(expr: &Expr) -> std::result::Result<ColumnarValue, PlanError> {
    let physical = create_physical_expr(
        expr,
        &DFSchema::empty(),
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .map_err(|error| PlanError::new(error.to_string()))?;
    Ok(physical.evaluate(&one)?)
}

/// A field of a ROW column.
#[derive(Debug)]
struct Access {
    column: usize,
    path: Vec<String>,
}

impl Expression for Access {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let missing = || {
            Error::internal(format!("there is no field {} of column {}", self.path.join("."), self.column))
        };
        let mut value = rows.columns().get(self.column).cloned().ok_or_else(missing)?;
        for name in &self.path {
            let row = value.as_any().downcast_ref::<StructArray>().ok_or_else(missing)?;
            value = field_of(row, name).ok_or_else(missing)?;
        }
        Ok(value)
    }

    fn is_access(&self) -> bool {
        true
    }

    fn columns_used(&self) -> Option<Vec<usize>> {
        Some(vec![self.column])
    }
}

/// Anything computed.
#[derive(Debug)]
struct Physical {
    physical: Arc<dyn PhysicalExpr>,
    columns: Vec<usize>,
}

impl Expression for Physical {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let value = self.physical.evaluate(rows).map_err(|error| evaluation_error(&error))?;
        value.into_array(rows.num_rows()).map_err(|error| evaluation_error(&error))
    }

    fn columns_used(&self) -> Option<Vec<usize>> {
        Some(self.columns.clone())
    }
}

fn evaluation_error(error: &DataFusionError) -> Error {
    let text = error.find_root().strip_backtrace();
    let text = text
        .trim_start_matches("Arrow error: ")
        .trim_start_matches("Execution error: ")
        .trim_start_matches("Cast error: ")
        .to_owned();
    let remedy = if text.contains("ivide by zero") {
        "guard the division: CASE WHEN x <> 0 THEN y / x END, or y / NULLIF(x, 0)"
    } else {
        "use TRY_CAST, which gives NULL for what cannot be converted, or filter such rows"
    };
    Error::data(format!("an expression cannot be computed: {text}")).remedy(remedy)
}
