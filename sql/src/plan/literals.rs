//! Types that DataFusion sees differently: a whole number is an INT where it fits, as in Flink, not a BIGINT.

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan};

/// Retypes the literals of a whole plan; the names of columns stay.
pub(super) fn plan_with_int_literals(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|plan| {
        // The columns of VALUES have one type each already.
        if matches!(plan, LogicalPlan::Values(_) | LogicalPlan::Limit(_)) {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(int_literals(expr)?.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })
    .data()
}

/// Retypes the literals of an expression.
pub(super) fn int_literals(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| {
        Ok(match expr {
            Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
                Ok(value) => Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(value)), metadata)),
                Err(_) => Transformed::no(Expr::Literal(ScalarValue::Int64(Some(value)), metadata)),
            },
            other => Transformed::no(other),
        })
    })
}
