//! `ORDER BY … LIMIT n`: the first rows of all by an order, which change as better ones come; `LIMIT n` alone: the first to
//! arrive, for good. Both are a Top-N of one partition. Flink: StreamPhysicalSortLimit, StreamPhysicalLimit.

use datafusion_expr::logical_plan::{FetchType, Limit, SkipType, Sort};
use datafusion_expr::{Expr, LogicalPlan};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use millstream_operators::SortKey;

use super::build::{bind_all, build, fields_of, span_of};
use super::columns::column;
use super::rank::Pool;
use super::rel::{Rank, Rel, RelKind};
use crate::functions::FunctionContext;
use crate::plan::error::PlanError;
use crate::plan::ranking::ROW_NUMBER;

/// Rows that a query may be limited to: they are kept in memory, and compared with each batch.
const ROWS_MAX: usize = 100_000;

/// The first rows of `limit`'s input.
pub(super) fn limit(limit: &Limit, functions: &FunctionContext) -> Result<Rel, PlanError> {
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
        (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return Err(PlanError::new("LIMIT and OFFSET take a number").remedy("write LIMIT 10 OFFSET 20"));
    };
    let Some(fetch) = fetch else {
        return Err(PlanError::new("OFFSET without LIMIT leaves all rows but the first for ever")
            .remedy("write LIMIT 10 OFFSET 20"));
    };
    if skip.saturating_add(fetch) > ROWS_MAX {
        return Err(PlanError::new(format!("LIMIT and OFFSET come to more than {ROWS_MAX} rows"))
            .remedy("keep fewer, or leave LIMIT out"));
    }
    let rel = first(&limit.input, (skip + 1, skip + fetch), functions)?;
    if fetch == 0 {
        // No row is wanted: nothing is read, so that a query over an endless source is done at once.
        let none = RecordBatch::new_empty(Arc::new(Schema::new(rel.fields.clone())));
        return Ok(Rel { kind: RelKind::Values(none), ..rel });
    }
    Ok(rel)
}

/// Rows of `plan` in places `bounds`.
fn first(plan: &LogicalPlan, bounds: (usize, usize), functions: &FunctionContext) -> Result<Rel, PlanError> {
    match plan {
        // What rows are ordered by need not be among the columns that are wanted.
        LogicalPlan::Projection(projection) if matches!(projection.input.as_ref(), LogicalPlan::Sort(_)) => {
            let input = first(&projection.input, bounds, functions)?;
            let columns = bind_all(&projection.expr, &projection.input, &input, functions)?;
            Ok(Rel::calc(input, None, columns, fields_of(plan)))
        }
        LogicalPlan::Sort(Sort { expr, input, .. }) => {
            let rel = build(input, functions)?;
            let place = span_of(expr.iter().map(|sort| &sort.expr));
            let by: Vec<Expr> = expr.iter().map(|sort| sort.expr.clone()).collect();
            let by = bind_all(&by, input, &rel, functions)?;
            let width = rel.fields.len();
            let mut pool = Pool::new(rel);
            let mut order = Vec::new();
            for (by, sort) in by.iter().zip(expr) {
                let column = pool.index_of(by)?;
                order.push(SortKey { column, descending: !sort.asc, nulls_first: sort.nulls_first });
            }
            Ok(ranked(pool.into_rel(), order, bounds, width, place))
        }
        other => {
            let rel = build(other, functions)?;
            let width = rel.fields.len();
            Ok(ranked(rel, Vec::new(), bounds, width, None))
        }
    }
}

/// The first `width` columns of those rows of `input`.
fn ranked(
    input: Rel,
    order: Vec<SortKey>,
    bounds: (usize, usize),
    width: usize,
    place: Option<sqlparser::tokenizer::Span>,
) -> Rel {
    let kept: Vec<_> = input.fields[..width].to_vec();
    let number = Arc::new(Field::new(ROW_NUMBER, DataType::Int64, false));
    let fields = input.fields.iter().cloned().chain([number]).collect();
    let rank = Rank { input, partition: Vec::new(), order, bounds: Some(bounds), place };
    let rel = Rel { kind: RelKind::Rank(Box::new(rank)), fields };
    Rel::calc(rel, None, (0..width).map(column).collect(), kept)
}
