//! `LATERAL (SELECT …)`: subqueries of FROM that read columns of what stands before them, as joins.
//!
//! Filters and aggregates are DataFusion's to bring out of their subquery. The first rows of each row before,
//! `LATERAL (SELECT … WHERE t.k = a.k ORDER BY x LIMIT n)`, become rows numbered by `k`, of which the first are kept, joined on
//! `k`; this is the Top-N that the operators know. Flink: FlinkDecorrelateProgram.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, Result};
use datafusion_expr::expr::{Sort as SortExpr, WindowFunction, WindowFunctionParams};
use datafusion_expr::logical_plan::{
    FetchType, Filter, Join, Limit, Projection, SkipType, Sort, Subquery, SubqueryAlias,
};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{
    BinaryExpr, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, WindowFrame,
    WindowFunctionDefinition, lit,
};
use datafusion_optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

use super::error::PlanError;
use super::ranking::{ROW_NUMBER, window_function};

/// Columns under which what is equal to a column of the row before leaves the subquery.
fn key(at: usize) -> String {
    format!("__lateral_{at}")
}

/// `plan` with joins in the place of subqueries that read what stands before them.
pub(super) fn without_laterals(plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<LogicalPlan> {
    let others = DecorrelateLateralJoin::new();
    plan.transform_down(|plan| {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        if subquery(&join.right).is_none() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let join = Join { right: Arc::new(renamed_inside(&join.right)?), ..join };
        let is_inner = join.join_type == JoinType::Inner;
        let limited =
            subquery(&join.right).is_some_and(|(subquery, _)| has_limit(projections(&subquery.subquery).1));
        if limited {
            return first_rows(&join).map(Transformed::yes);
        }
        let joined = others.rewrite(LogicalPlan::Join(join), config)?;
        match &joined.data {
            LogicalPlan::Join(join) if subquery(&join.right).is_some() => Err(refusal().into()),
            _ if is_inner => Ok(Transformed::new(inner(joined.data)?, true, joined.tnr)),
            _ => Ok(joined),
        }
    })
    .data()
}

/// Flink joins aggregates of a subquery inner too: a row before that nothing matches is not in the result, where the
/// standard has it with the aggregate of nothing.
fn inner(plan: LogicalPlan) -> Result<LogicalPlan> {
    let joined = plan.transform_down(|plan| {
        Ok(match plan {
            LogicalPlan::Join(join) => {
                let join = Join { join_type: JoinType::Inner, ..join };
                Transformed::new(LogicalPlan::Join(join), true, TreeNodeRecursion::Stop)
            }
            other => Transformed::no(other),
        })
    });
    joined.data()
}

fn refusal() -> PlanError {
    PlanError::new("this LATERAL subquery cannot be made a join").remedy(
        "compare columns of both sides with = in its WHERE: FROM a, LATERAL (SELECT x FROM t WHERE t.k = a.k ORDER BY x LIMIT 3); or \
         join the tables, and number the rows of a key with ROW_NUMBER",
    )
}

/// A subquery of FROM that reads what stands before it, perhaps under new names, and its own name.
fn subquery(plan: &LogicalPlan) -> Option<(&Subquery, Option<&SubqueryAlias>)> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            subquery(&alias.input).map(|(subquery, inner)| (subquery, inner.or(Some(alias))))
        }
        LogicalPlan::Projection(projection) => subquery(&projection.input),
        LogicalPlan::Subquery(subquery) => Some((subquery, None)),
        _ => None,
    }
}

/// `LATERAL (SELECT …) AS t (a, b)` with the names of its columns inside the subquery.
fn renamed_inside(plan: &LogicalPlan) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let input = renamed_inside(&alias.input)?;
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?)
        }
        LogicalPlan::Projection(projection) => match renamed_inside(&projection.input)? {
            LogicalPlan::Subquery(subquery) => {
                let inside = Projection::try_new(projection.expr.clone(), Arc::clone(&subquery.subquery))?;
                LogicalPlan::Subquery(subquery.with_plan(Arc::new(LogicalPlan::Projection(inside))))
            }
            _ => return Err(refusal().into()),
        },
        other => other.clone(),
    })
}

fn has_limit(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Limit(_))
}

/// A join with the first rows of a subquery for each row of the left.
fn first_rows(join: &Join) -> Result<LogicalPlan> {
    let (Some((subquery, alias)), JoinType::Inner | JoinType::Left) = (subquery(&join.right), join.join_type)
    else {
        return Err(refusal().into());
    };
    let (mut above, rest) = projections(&subquery.subquery);
    let LogicalPlan::Limit(limit) = rest else { return Err(refusal().into()) };
    let (first, last) = places(limit)?;
    let (behind, rest) = projections(&limit.input);
    above.extend(behind);
    let LogicalPlan::Sort(Sort { expr: order, input, .. }) = rest else { return Err(refusal().into()) };
    let (below, rest) = projections(input);
    let LogicalPlan::Filter(Filter { predicate, input: base, .. }) = rest else {
        return Err(refusal().into());
    };

    // What is equal to a column of the left, and what is left of the filter.
    let (mut keys, mut filter) = (Vec::new(), Vec::new());
    for condition in split_conjunction(predicate) {
        if !condition.contains_outer() {
            filter.push(condition.clone());
            continue;
        }
        keys.push(correlation(condition).ok_or_else(refusal)?);
    }
    if keys.iter().any(|(_, outer)| !join.left.schema().has_column(outer)) || base.contains_outer_reference()
    {
        return Err(refusal().into());
    }

    let mut plan = base.as_ref().clone();
    if let Some(filter) = conjunction(filter) {
        plan = LogicalPlanBuilder::from(plan).filter(filter)?.build()?;
    }
    // The keys come into being in front of all, and are carried up.
    let computed = keys.iter().enumerate().map(|(at, (inner, _))| inner.clone().alias(key(at)));
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    plan = LogicalPlanBuilder::from(plan.clone()).project(columns.chain(computed))?.build()?;
    let carried = || (0..keys.len()).map(|at| Expr::Column(Column::new_unqualified(key(at))));
    for projection in below.iter().rev() {
        let exprs = projection.expr.iter().cloned().chain(carried());
        plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
    }
    let shown: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).chain(carried()).collect();
    let number = numbered(carried().collect(), order.clone())?;
    let name = number.schema_name().to_string();
    plan = LogicalPlanBuilder::from(plan)
        .window([number])?
        .filter(Expr::Column(Column::new_unqualified(name)).between(lit(first), lit(last)))?
        .project(shown)?
        .build()?;
    for projection in above.iter().rev() {
        let exprs = projection.expr.iter().cloned().chain(carried());
        plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
    }
    let qualifier = alias.map(|alias| alias.alias.clone());
    if let Some(alias) = &qualifier {
        plan = LogicalPlanBuilder::from(plan).alias(alias.clone())?.build()?;
    }
    let equal = keys.iter().enumerate().map(|(at, (_, outer))| {
        Expr::Column(outer.clone()).eq(Expr::Column(Column::new(qualifier.clone(), key(at))))
    });
    let wanted: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
    LogicalPlanBuilder::from(join.left.as_ref().clone())
        .join_on(plan, join.join_type, equal.chain(join.filter.clone()))?
        .project(wanted)?
        .build()
}

/// The first and last place that is wanted.
fn places(limit: &Limit) -> Result<(i64, i64)> {
    match (limit.get_skip_type()?, limit.get_fetch_type()?) {
        (SkipType::Literal(skip), FetchType::Literal(Some(fetch))) => {
            Ok((skip as i64 + 1, skip.saturating_add(fetch) as i64))
        }
        _ => Err(PlanError::new("LIMIT and OFFSET take a number").remedy("write LIMIT 10").into()),
    }
}

/// The projections on top of `plan`, and what is below them.
fn projections(plan: &Arc<LogicalPlan>) -> (Vec<&Projection>, &LogicalPlan) {
    let (mut found, mut plan) = (Vec::new(), plan.as_ref());
    while let LogicalPlan::Projection(projection) = plan {
        found.push(projection);
        plan = projection.input.as_ref();
    }
    (found, plan)
}

/// What must be equal: over the subquery's columns, and a column of what stands before it.
fn correlation(condition: &Expr) -> Option<(Expr, Column)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    let outer = |expr: &Expr| match expr {
        Expr::OuterReferenceColumn(_, column) => Some(column.clone()),
        _ => None,
    };
    match (outer(left), outer(right)) {
        (Some(outer), None) if !right.contains_outer() => Some((right.as_ref().clone(), outer)),
        (None, Some(outer)) if !left.contains_outer() => Some((left.as_ref().clone(), outer)),
        _ => None,
    }
}

/// ROW_NUMBER by `keys` in that order.
fn numbered(keys: Vec<Expr>, order: Vec<SortExpr>) -> Result<Expr> {
    let function = window_function(ROW_NUMBER).ok_or_else(refusal)?;
    Ok(Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(function),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by: keys,
            order_by: order,
            window_frame: WindowFrame::new(Some(true)),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    })))
}
