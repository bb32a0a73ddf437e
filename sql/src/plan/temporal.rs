//! Arithmetic of times where Flink's types and DataFusion's part ways: TIME ± INTERVAL, INTERVAL * number, literals.
//!
//! Timestamps and dates with intervals are left to Arrow, which computes the same.

use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::Cast;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{Expr, ExprSchemable, lit};

use super::error::PlanError;
use crate::functions::time::{interval_times, literal_value, time_plus_interval};

/// Rewrites an expression.
pub(super) fn expression(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| {
        let replaced = match &expr {
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

/// Plans `+`, `-` and `*` of times before DataFusion looks for a type of its own.
#[derive(Debug)]
pub(super) struct TemporalPlanner;

impl ExprPlanner for TemporalPlanner {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use DataType as T;
        use sqlparser::ast::BinaryOperator as Op;
        const TIME: DataType = T::Time32(TimeUnit::Millisecond);
        const INTERVAL: DataType = T::Interval(IntervalUnit::MonthDayNano);
        if !matches!(raw.op, Op::Plus | Op::Minus | Op::Multiply) {
            return Ok(PlannerResult::Original(raw));
        }
        let (Ok(left), Ok(right)) = (raw.left.get_type(schema), raw.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(raw));
        };
        let RawBinaryExpr { op, left: a, right: b } = raw;
        let times = |interval: Expr, count: Expr| interval_times().call(vec![interval, count]);
        let is_point =
            |data_type: &DataType| matches!(data_type, T::Date32 | T::Time32(_) | T::Timestamp(..));
        let planned = match op {
            Op::Plus if left == TIME && right == INTERVAL => time_plus_interval().call(vec![a, b]),
            Op::Plus if left == INTERVAL && right == TIME => time_plus_interval().call(vec![b, a]),
            Op::Minus if left == TIME && right == INTERVAL => {
                time_plus_interval().call(vec![a, times(b, lit(-1))])
            }
            Op::Multiply if left == INTERVAL && right.is_numeric() => times(a, b),
            Op::Multiply if left.is_numeric() && right == INTERVAL => times(b, a),
            Op::Minus if is_point(&left) && is_point(&right) => {
                return Err(PlanError::new("two times cannot be subtracted with '-'")
                    .remedy("write TIMESTAMPDIFF(SECOND, earlier, later), or another unit")
                    .into());
            }
            op => return Ok(PlannerResult::Original(RawBinaryExpr { op, left: a, right: b })),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_worked_out_once() {
        let literal = datafusion_expr::cast(lit("2024-02-29"), DataType::Date32);
        let folded = expression(literal).unwrap().data;
        assert_eq!(folded, Expr::Literal(ScalarValue::Date32(Some(19_782)), None));
        let wrong = datafusion_expr::cast(lit("2024-02-30"), DataType::Date32);
        assert!(matches!(expression(wrong).unwrap().data, Expr::Cast(_)));
    }
}
