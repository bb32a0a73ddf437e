//! INTERSECT ALL and EXCEPT ALL: rows of both sides are counted together, and leave as often as the counts say.
//!
//! The planner makes a semi or anti join of equal rows of them, as of INTERSECT and EXCEPT, but over rows that are not distinct;
//! a join so made of distinct rows stays one. Flink: RewriteIntersectAllRule, RewriteMinusAllRule.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::{NullEquality, ScalarValue};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::{Distinct, Expr, JoinType, LogicalPlan, cast, lit, when};
use millstream_operators::{AggregateCall, AggregateKind};

use super::build::{bind_all, build, fields_of};
use super::columns::{column, indexed, type_of, with_flink_casts};
use super::group::grouped_by;
use super::rel::{Rel, RelKind};
use crate::functions::FunctionContext;
use crate::plan::error::PlanError;

/// True for a join that INTERSECT ALL or EXCEPT ALL was planned as. No other takes NULLs for equal.
pub(super) fn is_set_of_all(plan: &Join) -> bool {
    matches!(plan.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && plan.null_equality == NullEquality::NullEqualsNull
        && !matches!(plan.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
}

/// Lowers INTERSECT ALL and EXCEPT ALL.
pub(super) fn set_of_all(plan: &Join, functions: &FunctionContext) -> Result<Rel, PlanError> {
    let (left, right): (Vec<Expr>, Vec<Expr>) = plan.on.iter().cloned().unzip();
    let left = marked(&plan.left, &left, 0, functions)?;
    let right = marked(&plan.right, &right, 1, functions)?;
    let width = plan.on.len();
    let fields = left.fields.clone();
    let both = Rel { kind: RelKind::Union { inputs: vec![left, right] }, fields };
    let count = |side: usize| AggregateCall {
        kind: AggregateKind::Count,
        argument: Some(width + side),
        filter: None,
        distinct: false,
        name: format!("COUNT({})", SIDES[side]),
    };
    let counted = grouped_by(both, (0..width).collect(), vec![count(0), count(1)], None)?;
    let (ours, theirs) = (column(width), column(width + 1));
    let times = match plan.join_type {
        JoinType::LeftSemi => when(ours.clone().lt(theirs.clone()), ours).otherwise(theirs)?,
        _ => ours - theirs,
    };
    // Rows that are left are equal to ones of the left, whose types they have.
    let wanted: Vec<FieldRef> = plan.schema.fields().iter().cloned().collect();
    let numbers = indexed(&counted.fields);
    let as_left = |(at, field): (usize, &FieldRef)| match counted.fields[at].data_type() == field.data_type()
    {
        true => Ok(column(at)),
        false => with_flink_casts(cast(column(at), field.data_type().clone()), &numbers, functions),
    };
    let mut columns = wanted.iter().enumerate().map(as_left).collect::<Result<Vec<_>, PlanError>>()?;
    columns.push(times);
    let named = Arc::new(Field::new("as often", DataType::Int64, true));
    let below = wanted.iter().cloned().chain([named]).collect();
    let input = Box::new(Rel::calc(counted, None, columns, below));
    Ok(Rel { kind: RelKind::Repeat { input }, fields: wanted })
}

/// Names of the columns that say which side a row is of.
const SIDES: [&str; 2] = ["left", "right"];

/// The rows of `plan` as `exprs`, and behind them which side they are of.
fn marked(
    plan: &LogicalPlan,
    exprs: &[Expr],
    side: usize,
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    let input = build(plan, functions)?;
    let mut columns = bind_all(exprs, plan, &input, functions)?;
    let numbers = indexed(&input.fields);
    let mut fields = Vec::with_capacity(columns.len() + 2);
    for (expr, field) in columns.iter().zip(fields_of(plan)) {
        fields.push(Arc::new(Field::new(field.name(), type_of(expr, &numbers)?, true)));
    }
    for (at, name) in SIDES.iter().enumerate() {
        let none = Expr::Literal(ScalarValue::Int32(None), None);
        columns.push(if at == side { lit(1_i32) } else { none });
        fields.push(Arc::new(Field::new(*name, DataType::Int32, true)));
    }
    Ok(Rel::calc(input, None, columns, fields))
}
