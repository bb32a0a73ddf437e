//! Expressions over numbered columns. Lowering leaves names behind: column `3` of an input is `Column("3")`, so that
//! expressions can be put into each other without a thought about qualifiers and aliases.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::expr::{Cast, TryCast};
use datafusion_expr::{Expr, ExprSchemable};

use crate::functions::{FunctionContext, cast, never_fails};
use crate::plan::error::PlanError;
use crate::plan::fields::as_access;
use crate::plan::named_casts::named;

/// Column `index` of the input.
pub(crate) fn column(index: usize) -> Expr {
    Expr::Column(Column::new_unqualified(index.to_string()))
}

/// The index, if `expr` is a column.
pub(crate) fn as_column(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) => column.name.parse().ok(),
        _ => None,
    }
}

/// Column and path of an access like `person.name`; the path is empty for a whole column.
pub(crate) fn as_path(expr: &Expr) -> Option<(usize, Vec<String>)> {
    if let Some(index) = as_column(expr) {
        return Some((index, Vec::new()));
    }
    let (row, name) = as_access(expr)?;
    let (index, mut path) = as_path(row)?;
    path.push(name.to_owned());
    Some((index, path))
}

/// `fields` under their numbers.
pub(crate) fn indexed(fields: &[FieldRef]) -> DFSchema {
    let numbered = fields.iter().enumerate().map(|(index, field)| {
        let field = Field::new(index.to_string(), field.data_type().clone(), field.is_nullable());
        (None, Arc::new(field))
    });
    DFSchema::new_with_metadata(numbered.collect(), HashMap::new()).unwrap_or_else(|_| DFSchema::empty())
}

/// The type of an expression over numbered columns.
pub(crate) fn type_of(expr: &Expr, schema: &DFSchema) -> Result<DataType, PlanError> {
    Ok(expr.get_type(schema)?)
}

/// Turns a planned expression over `names` into one over numbers, without aliases, its casts with Flink's meaning.
pub(crate) fn bind(
    expr: Expr,
    names: &DFSchema,
    numbers: &DFSchema,
    functions: &FunctionContext,
) -> Result<Expr, PlanError> {
    let numbered = expr
        .transform_up(|expr| {
            Ok(match expr {
                Expr::Column(name) => Transformed::yes(column(names.index_of_column(&name)?)),
                Expr::Alias(alias) => Transformed::yes(*alias.expr),
                other if named(&other).is_some() => {
                    named(&other).cloned().map_or_else(|| Transformed::no(other), Transformed::yes)
                }
                other => Transformed::no(other),
            })
        })
        .data()?;
    with_flink_casts(numbered, numbers, functions)
}

/// Replaces casts that Flink does otherwise.
pub(crate) fn with_flink_casts(
    expr: Expr,
    schema: &DFSchema,
    functions: &FunctionContext,
) -> Result<Expr, PlanError> {
    let cast_of = |inner: &Expr, to: &DataType, may_fail: bool| -> Result<Option<Expr>> {
        let from = inner.get_type(schema)?;
        if &from == to {
            return Ok(Some(inner.clone()));
        }
        Ok(cast(&from, to, may_fail, functions).map(|function| function.call(vec![inner.clone()])))
    };
    let done = expr
        .transform_up(|expr| {
            let replaced = match &expr {
                Expr::Cast(Cast { expr: inner, field }) => cast_of(inner, field.data_type(), false)?,
                Expr::TryCast(TryCast { expr: inner, field }) => cast_of(inner, field.data_type(), true)?,
                _ => None,
            };
            Ok(replaced.map_or_else(|| Transformed::no(expr), Transformed::yes))
        })
        .data()?;
    Ok(done)
}

/// Puts `with(i)` in the place of each column `i`.
pub(crate) fn substitute(expr: &Expr, with: &dyn Fn(usize) -> Expr) -> Expr {
    let replaced = expr.clone().transform_up(|expr| {
        Ok(match as_column(&expr) {
            Some(index) => Transformed::yes(with(index)),
            None => Transformed::no(expr),
        })
    });
    // The closure above has no way to fail.
    replaced.data().unwrap_or_else(|_| expr.clone())
}

/// How often each column is used, and by which path.
pub(crate) fn paths_in(expr: &Expr, found: &mut Vec<(usize, Vec<String>)>) {
    let _ = expr.apply(|expr| {
        if let Some(path) = as_path(expr) {
            found.push(path);
            return Ok(TreeNodeRecursion::Jump);
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

/// True for expressions that cost nothing to evaluate twice.
pub(crate) fn is_trivial(expr: &Expr) -> bool {
    as_path(expr).is_some() || matches!(expr, Expr::Literal(..))
}

/// True for expressions that cannot fail on any row, so that they may see rows another filter would have kept away.
/// Casts that [`with_flink_casts`] has left are to wider numbers.
pub(crate) fn is_infallible(expr: &Expr) -> bool {
    use datafusion_expr::Operator as Op;
    let fails = expr.exists(|expr| {
        Ok(match expr {
            Expr::BinaryExpr(binary) => matches!(binary.op, Op::Divide | Op::Modulo),
            Expr::ScalarFunction(call) => as_access(expr).is_none() && !never_fails(&call.func),
            _ => false,
        })
    });
    !fails.unwrap_or(true)
}
