//! `(a, b) IN (SELECT x, y …)` and `(a, b) IN ((1, 2), …)`: rows among rows.
//!
//! Among those of a query it becomes `ROW(a, b) IN (SELECT ROW(x, y) …)`, of which the planner makes a join; lowering compares
//! the fields, so that one that is NULL says nothing (lower/join.rs). Among listed rows it becomes a comparison with each.
//! Flink: SubQueryRemoveRule.

use sqlparser::ast::{
    self, BinaryOperator, Expr, Ident, SelectItem, SetExpr, Spanned, TableAlias, TableAliasColumnDef,
    TableFactor, UnaryOperator,
};

use super::error::PlanError;
use super::versions::and;
use crate::parse::{arguments_of, call, select_from};

/// The function that makes a row of values.
const ROW: &str = "row";

/// The name of a query whose columns are made one.
const QUERY: &str = "__rows";

/// Refuses a query that gives other rows than `expr` compares them with, where the text says it.
pub(super) fn check(expr: &Expr) -> Result<(), PlanError> {
    let Expr::InSubquery { expr: row, subquery, .. } = expr else { return Ok(()) };
    let Some(values) = values(row) else { return Ok(()) };
    let SetExpr::Select(select) = subquery.body.as_ref() else { return Ok(()) };
    let is_plain =
        |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    let found = select.projection.len();
    if found == values.len() || !select.projection.iter().all(is_plain) {
        return Ok(());
    }
    let message = format!("a row of {} values is looked for among rows of {found}", values.len());
    Err(PlanError::at(message, row.span()).remedy("select as many columns as stand in front of IN"))
}

/// The comparison that `expr` is, if it is of rows.
pub(super) fn plain(expr: &mut Expr) {
    let plain = match expr {
        Expr::InSubquery { expr: row, subquery, negated } => values(row).map(|values| Expr::InSubquery {
            subquery: Box::new(of_rows(subquery, values.len())),
            expr: Box::new(call(ROW, values, row.span())),
            negated: *negated,
        }),
        Expr::InList { expr: row, list, negated } => {
            let rows = list.iter().map(values).collect::<Option<Vec<_>>>();
            values(row).zip(rows).and_then(|(values, rows)| listed(&values, rows, *negated))
        }
        _ => None,
    };
    if let Some(plain) = plain {
        *expr = plain;
    }
}

/// `subquery` with its columns as one, a ROW.
fn of_rows(subquery: &ast::Query, width: usize) -> ast::Query {
    let mut query = subquery.clone();
    let is_plain = query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    if let (true, SetExpr::Select(select)) = (is_plain, query.body.as_mut()) {
        let plain = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(expr) => Some(expr.clone()),
            _ => None,
        };
        if let Some(columns) = select.projection.iter().map(plain).collect::<Option<Vec<_>>>() {
            select.projection = vec![SelectItem::UnnamedExpr(call(ROW, columns, subquery.span()))];
            select.distinct = None;
            return query;
        }
    }
    let names = (0..width).map(|at| format!("__row_{at}"));
    let alias = TableAlias {
        explicit: true,
        name: Ident::new(QUERY),
        columns: names.clone().map(TableAliasColumnDef::from_name).collect(),
        at: None,
    };
    let rows =
        TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None };
    select_from(
        call(ROW, names.map(|name| Expr::Identifier(Ident::new(name))).collect(), subquery.span()),
        rows,
    )
}

fn listed(values: &[Expr], rows: Vec<Vec<Expr>>, negated: bool) -> Option<Expr> {
    if rows.iter().any(|row| row.len() != values.len()) {
        return None;
    }
    let each = rows.into_iter().map(|row| Expr::Nested(Box::new(equal(values.to_vec(), row))));
    let any = each.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::Or,
        right: Box::new(right),
    })?;
    let any = Expr::Nested(Box::new(any));
    Some(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) } } else { any })
}

/// The values of `(a, b)` and of `ROW(a, b)`.
fn values(row: &Expr) -> Option<Vec<Expr>> {
    match row {
        Expr::Tuple(values) => Some(values.clone()),
        Expr::Nested(inner) => values(inner),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case(ROW) => {
            arguments_of(function)
        }
        _ => None,
    }
}

/// True where all of `left` are equal to those of `right`.
fn equal(left: Vec<Expr>, right: Vec<Expr>) -> Expr {
    let pairs = left.into_iter().zip(right).map(|(left, right)| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::Eq,
        right: Box::new(right),
    });
    // A row has values, so there is one.
    pairs.reduce(and).unwrap_or(Expr::Value(ast::Value::Boolean(true).into()))
}
