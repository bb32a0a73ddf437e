//! Arithmetic of times where Flink's types and DataFusion's part ways: TIME ± INTERVAL, INTERVAL * number, literals.
//!
//! Timestamps and dates with intervals are left to Arrow, which computes the same.

use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::Cast;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};

use super::error::PlanError;
use crate::functions::time::{interval_times, literal_value, time_plus_interval};

/// Rewrites the expressions of a whole plan; the names of columns stay.
pub(super) fn plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|plan| {
        if matches!(plan, LogicalPlan::Values(_) | LogicalPlan::Limit(_)) {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expression(expr, &schema)?.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })
    .data()
}

/// Rewrites an expression over the columns of `schema`.
pub(super) fn expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| {
        let replaced = match &expr {
            Expr::BinaryExpr(binary) => arithmetic(binary, schema)?,
            Expr::Cast(Cast { expr: inner, field }) => match inner.as_ref() {
                Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
                    literal_value(field.data_type(), text).map(|value| Expr::Literal(value, None))
                }
                _ => None,
            },
            _ => None,
        };
        Ok(replaced.map_or_else(|| Transformed::no(expr), Transformed::yes))
    })
}

fn arithmetic(binary: &BinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    use DataType as T;
    const TIME: DataType = T::Time32(TimeUnit::Millisecond);
    const INTERVAL: DataType = T::Interval(IntervalUnit::MonthDayNano);
    if !matches!(binary.op, Operator::Plus | Operator::Minus | Operator::Multiply) {
        return Ok(None);
    }
    let (Ok(left), Ok(right)) = (binary.left.get_type(schema), binary.right.get_type(schema)) else {
        return Ok(None);
    };
    let (a, b) = (binary.left.as_ref().clone(), binary.right.as_ref().clone());
    let times = |interval: Expr, count: Expr| interval_times().call(vec![interval, count]);
    let is_point = |data_type: &DataType| matches!(data_type, T::Date32 | T::Time32(_) | T::Timestamp(..));
    Ok(match (&left, binary.op, &right) {
        (left, Operator::Plus, right) if *left == TIME && *right == INTERVAL => {
            Some(time_plus_interval().call(vec![a, b]))
        }
        (left, Operator::Plus, right) if *left == INTERVAL && *right == TIME => {
            Some(time_plus_interval().call(vec![b, a]))
        }
        (left, Operator::Minus, right) if *left == TIME && *right == INTERVAL => {
            Some(time_plus_interval().call(vec![a, times(b, lit(-1))]))
        }
        (left, Operator::Multiply, right) if *left == INTERVAL && right.is_numeric() => Some(times(a, b)),
        (left, Operator::Multiply, right) if left.is_numeric() && *right == INTERVAL => Some(times(b, a)),
        (left, Operator::Minus, right) if is_point(left) && is_point(right) => {
            return Err(PlanError::new("two times cannot be subtracted with '-'")
                .remedy("write TIMESTAMPDIFF(SECOND, earlier, later), or another unit")
                .into());
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_worked_out_once() {
        let literal = datafusion_expr::cast(lit("2024-02-29"), DataType::Date32);
        let folded = expression(literal, &DFSchema::empty()).unwrap().data;
        assert_eq!(folded, Expr::Literal(ScalarValue::Date32(Some(19_782)), None));
        let wrong = datafusion_expr::cast(lit("2024-02-30"), DataType::Date32);
        assert!(matches!(expression(wrong, &DFSchema::empty()).unwrap().data, Expr::Cast(_)));
    }
}
