//! Operators between types that they do not take, refused in SQL's words before DataFusion would convert or refuse them.

use datafusion_common::{DFSchema, Result};
use datafusion_expr::ExprSchemable;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use sqlparser::ast::BinaryOperator as Op;

use crate::plan::error::PlanError;
use millstream_engine::type_name;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct OperatorPlanner;

impl ExprPlanner for OperatorPlanner {
    fn plan_binary_op(
        &self,
        binary: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if matches!(binary.op, Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo)
            && let (Ok(left), Ok(right)) = (binary.left.get_type(schema), binary.right.get_type(schema))
            && (left.is_string() || right.is_string())
        {
            let message =
                format!("{} is not taken between {} and {}", binary.op, type_name(&left), type_name(&right));
            return Err(PlanError::new(message)
                .remedy("CAST text to a number first; || puts strings together")
                .into());
        }
        Ok(PlannerResult::Original(binary))
    }
}
