//! `GROUP BY` without a window, and DISTINCT: one row a key, which changes as rows come.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion_expr::Expr;
use millstream_operators::AggregateCall;

use super::build::span_of;
use super::columns::{column, indexed, type_of};
use super::grouping::Grouping;
use super::rel::{Group, Rel, RelKind};
use super::show;
use super::window::{Front, as_planned, call, unaliased};
use crate::functions::FunctionContext;
use crate::plan::error::PlanError;

/// Lowers an aggregation over `input`, which has no windows.
pub(super) fn group(
    plan: &datafusion_expr::logical_plan::Aggregate,
    input: Rel,
    mut grouping: Grouping,
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    let place = span_of(plan.group_expr.iter().chain(&plan.aggr_expr));
    let numbers = indexed(&input.fields);
    let mut front = Front::default();
    let mut add = |expr: &Expr, name: &str| -> Result<usize, PlanError> {
        let kind = type_of(expr, &numbers)?;
        Ok(front.push(expr.clone(), Field::new(name, kind, true)))
    };
    let mut grouped: Vec<usize> = Vec::new();
    let mut outputs: Vec<Expr> = Vec::new();
    let exprs = grouping.exprs.clone();
    for (at, (expr, field)) in exprs.iter().zip(grouping.fields(plan)).enumerate() {
        let index = add(expr, field.name())?;
        let key = grouped.iter().position(|key| *key == index).unwrap_or_else(|| {
            grouped.push(index);
            grouped.len() - 1
        });
        grouping.keys[at] = Some(key);
        outputs.push(column(key));
    }
    outputs.extend(grouping.settle(grouped.len(), plan)?);
    let first_call = grouped.len() + usize::from(grouping.has_sets());
    let mut calls: Vec<AggregateCall> = Vec::new();
    for expr in &plan.aggr_expr {
        if let Some(bits) = grouping.bits(expr, plan, &input, functions)? {
            outputs.push(bits);
            continue;
        }
        let Expr::AggregateFunction(function) = unaliased(expr) else {
            let mut error = PlanError::new("only aggregate functions can be computed here");
            error.span = place;
            return Err(error.remedy("use COUNT, SUM, MIN, MAX, AVG, …"));
        };
        outputs.push(column(first_call + calls.len()));
        calls.push(call(function, plan, &input, functions, &mut add)?);
    }
    for call in &mut calls {
        call.name = show::call(call, &|index| front.fields[index].name().clone());
    }
    let (input, grouped) = grouping.expanded(front.into_rel(input), grouped)?;
    let rel = grouped_by(input, grouped, calls, place)?;
    as_planned(rel, outputs, plan, functions)
}

/// The distinct rows of `input`.
pub(super) fn distinct(input: Rel) -> Result<Rel, PlanError> {
    let fields = input.fields.clone();
    let keys = (0..fields.len()).collect();
    let rel = grouped_by(input, keys, Vec::new(), None)?;
    Ok(Rel { fields, ..rel })
}

/// One row for each of `keys` of `input`, with `calls`.
pub(super) fn grouped_by(
    input: Rel,
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    place: Option<sqlparser::tokenizer::Span>,
) -> Result<Rel, PlanError> {
    let mut fields: Vec<FieldRef> = keys.iter().map(|key| Arc::clone(&input.fields[*key])).collect();
    for call in &calls {
        let argument = call.argument.map_or(DataType::Int64, |index| input.fields[index].data_type().clone());
        if input.updates() {
            call.accumulator_taking_back(&argument).map_err(|error| {
                let mut error = PlanError::from(error);
                error.span = error.span.or(place);
                error
            })?;
        }
        fields.push(Arc::new(Field::new(&call.name, call.kind.output_type(&argument)?, true)));
    }
    Ok(Rel { kind: RelKind::Group(Box::new(Group { input, keys, calls, place })), fields })
}
