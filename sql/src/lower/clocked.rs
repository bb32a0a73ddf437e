//! `CURRENT_WATERMARK(ts)` in SELECT and WHERE: the call becomes a column of a node below, which shows the watermark that
//! each row comes under.
//!
//! Rows know that watermark from the assigner of their table on, as long as nothing holds them back or makes new ones of
//! them: behind a window or a join it would depend on how rows happen to come in batches, and is refused.

use std::sync::Arc;

use arrow_schema::Field;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_expr::Expr;

use super::columns::{as_column, column};
use super::rel::{Attribute, Rel, RelKind};
use crate::plan::error::PlanError;

/// The function's name.
const NAME: &str = "current_watermark";

/// The argument, if `expr` is the call.
fn as_call(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == NAME => call.args.first(),
        _ => None,
    }
}

/// Refuses the call where nothing can answer it.
pub(super) fn refuse(expr: &Expr) -> Result<(), PlanError> {
    if expr.exists(|expr| Ok(as_call(expr).is_some()))? {
        return Err(PlanError::new("CURRENT_WATERMARK stands in SELECT and WHERE")
            .remedy("take it in a subquery: FROM (SELECT *, CURRENT_WATERMARK(ts) AS w FROM t)"));
    }
    Ok(())
}

/// `exprs` over `input`, with the calls among them as columns of a node over it.
pub(super) fn clocked(input: Rel, exprs: Vec<Expr>) -> Result<(Rel, Vec<Expr>), PlanError> {
    let mut time = None;
    for expr in &exprs {
        expr.apply(|expr| {
            let Some(found) = as_call(expr) else { return Ok(TreeNodeRecursion::Continue) };
            time.get_or_insert_with(|| found.clone());
            Ok(TreeNodeRecursion::Stop)
        })?;
    }
    let Some(time) = time else { return Ok((input, exprs)) };
    let Some(index) = as_column(&time).filter(|index| input.attribute(*index) == Attribute::EventTime) else {
        return Err(PlanError::new("CURRENT_WATERMARK takes an event time as it is in its table")
            .remedy("name the column of WATERMARK FOR ts AS ts - INTERVAL '5' SECOND in CREATE TABLE"));
    };
    if !keeps_rows(&input) {
        return Err(PlanError::new("the watermark of a row is known where the row comes from its table")
            .remedy("take it in a subquery over the table: (SELECT *, CURRENT_WATERMARK(ts) AS w FROM t)"));
    }
    let width = input.fields.len();
    let exprs = exprs
        .into_iter()
        .map(|expr| {
            expr.transform_up(|expr| {
                let is_call = as_call(&expr) == Some(&time);
                Ok(if is_call { Transformed::yes(column(width)) } else { Transformed::no(expr) })
            })
            .data()
        })
        .collect::<Result<Vec<_>, _>>()?;
    // Of another time there is no watermark.
    exprs.iter().try_for_each(refuse)?;
    let shown = Field::new(NAME, input.fields[index].data_type().clone(), true);
    let fields = input.fields.iter().cloned().chain([Arc::new(shown)]).collect();
    Ok((Rel { kind: RelKind::Clocked { input: Box::new(input) }, fields }, exprs))
}

/// True when the rows of `rel` are rows of tables, in batches as their assigners sent them.
fn keeps_rows(rel: &Rel) -> bool {
    match &rel.kind {
        RelKind::Table(_) => true,
        RelKind::Calc { .. }
        | RelKind::Clocked { .. }
        | RelKind::Windowed { .. }
        | RelKind::Unnest(_)
        | RelKind::Union { .. } => rel.inputs().into_iter().all(keeps_rows),
        _ => false,
    }
}
