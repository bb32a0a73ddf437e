//! `ORDER BY` of a whole query without LIMIT: by time, upwards, and what else is wanted among rows of one time.
//!
//! In a subquery or view it says nothing, as in Flink: rows of a table are in no order. Flink: StreamPhysicalTemporalSort.

use datafusion_expr::logical_plan::Sort as SortPlan;
use datafusion_expr::{Expr, LogicalPlan};
use millstream_operators::SortKey;
use millstream_operators::window::TimeMode;
use sqlparser::tokenizer::Span;

use super::build::{bind_all, build, fields_of, span_of};
use super::columns::{as_column, column};
use super::rank::Pool;
use super::rel::{Attribute, Rel, RelKind};
use crate::functions::FunctionContext;
use crate::plan::error::PlanError;

/// A stream in order.
#[derive(Clone)]
pub(crate) struct Sort {
    pub input: Rel,
    pub time: usize,
    pub mode: TimeMode,
    /// What rows of one time are ordered by.
    pub order: Vec<SortKey>,
}

/// The tree of a query that has an ORDER BY and no LIMIT.
pub(crate) fn ordered(plan: &LogicalPlan, functions: &FunctionContext) -> Result<Rel, PlanError> {
    match plan {
        // What rows are ordered by need not be among the columns that are wanted.
        LogicalPlan::Projection(projection) if matches!(projection.input.as_ref(), LogicalPlan::Sort(_)) => {
            let input = ordered(&projection.input, functions)?;
            let columns = bind_all(&projection.expr, &projection.input, &input, functions)?;
            Ok(Rel::calc(input, None, columns, fields_of(plan)))
        }
        LogicalPlan::Sort(plan) => sort(plan, functions),
        other => build(other, functions),
    }
}

fn sort(plan: &SortPlan, functions: &FunctionContext) -> Result<Rel, PlanError> {
    let input = build(&plan.input, functions)?;
    let place = span_of(plan.expr.iter().map(|sort| &sort.expr));
    let by: Vec<Expr> = plan.expr.iter().map(|sort| sort.expr.clone()).collect();
    let by = bind_all(&by, &plan.input, &input, functions)?;
    let first = by.first().zip(plan.expr.first());
    let time = first.filter(|(_, sort)| sort.asc).and_then(|(expr, _)| as_column(expr));
    let (time, mode) = match time.map(|time| (time, input.attribute(time))) {
        Some((time, Attribute::EventTime | Attribute::WindowTime)) => (time, TimeMode::Event),
        Some((time, Attribute::ProcessingTime)) => (time, TimeMode::Processing),
        _ => {
            return Err(refusal(
                "ORDER BY would have to wait for the end of the stream",
                "order by a time attribute first, upwards: ORDER BY ts; or say how many: ORDER BY v DESC LIMIT 10; or leave it \
                 out: rows come in the order of their windows",
                place,
            ));
        }
    };
    if input.updates() {
        return Err(refusal(
            "ORDER BY is over rows that stay, and these are updated later",
            "say how many: ORDER BY ts LIMIT 10; or aggregate in windows, whose rows are final",
            place,
        ));
    }
    let width = input.fields.len();
    let mut pool = Pool::new(input);
    let mut order = Vec::new();
    for (by, sort) in by.iter().zip(&plan.expr).skip(1) {
        let column = pool.index_of(by)?;
        order.push(SortKey { column, descending: !sort.asc, nulls_first: sort.nulls_first });
    }
    let input = pool.into_rel();
    if mode == TimeMode::Processing && order.is_empty() {
        // Rows come in the order of the wall clock.
        return Ok(input);
    }
    let fields = input.fields.clone();
    let kept = fields[..width].to_vec();
    let rel = Rel { kind: RelKind::Sort(Box::new(Sort { input, time, mode, order })), fields };
    Ok(Rel::calc(rel, None, (0..width).map(column).collect(), kept))
}

fn refusal(message: &str, remedy: &str, place: Option<Span>) -> PlanError {
    let mut error = PlanError::new(message).remedy(remedy);
    error.span = place;
    error
}
