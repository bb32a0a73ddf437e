//! `JOIN t FOR SYSTEM_TIME AS OF p`, where `p` is a processing time: rows are looked up in the table as it is now.
//!
//! The node gives the columns of the left and then those that the table's connector brings; a projection above it makes the
//! declared columns of them. Flink: LookupJoin, CommonPhysicalLookupJoin.

use std::sync::Arc;

use arrow_schema::FieldRef;
use datafusion_expr::Expr;
use millstream_operators::JoinKind;
use sqlparser::tokenizer::Span;

use super::columns::{as_column, column, indexed, substitute, type_of};
use super::join::equality;
use super::rel::{Rel, RelKind};
use crate::plan::error::PlanError;
use crate::table::{ColumnSource, TableEntry};

/// A join with a table that is looked up in.
#[derive(Clone)]
pub(crate) struct Lookup {
    pub left: Rel,
    pub table: Arc<TableEntry>,
    /// Inner or left.
    pub kind: JoinKind,
    /// What must be equal: over the left's columns, and a column of the connector.
    pub keys: Vec<(Expr, usize)>,
    /// What must be true besides, over the columns of the left and then of the connector.
    pub residual: Vec<Expr>,
}

/// The join of `left` with the table that `right` reads, on `conditions` over the columns of both.
pub(super) fn lookup(
    left: Rel,
    right: &Rel,
    kind: JoinKind,
    conditions: Vec<Expr>,
    fields: Vec<FieldRef>,
    place: Option<Span>,
) -> Result<Rel, PlanError> {
    let refuse = |message: &str, remedy: &str| {
        let mut error = PlanError::new(message).remedy(remedy);
        error.span = place;
        error
    };
    let RelKind::Table(table) = &right.kind else {
        return Err(refuse(
            "rows are looked up in a table, and this is a query or a view",
            "name a table at the right, and filter in ON or in the query around",
        ));
    };
    if left.updates() || !matches!(kind, JoinKind::Inner | JoinKind::Left) {
        return Err(refuse(
            "FOR SYSTEM_TIME AS OF joins rows that stay, inner or left",
            "write FROM a [LEFT] JOIN t FOR SYSTEM_TIME AS OF a.p ON a.key = t.key, with a table a of new rows",
        ));
    }
    let width = left.fields.len();
    // The declared columns of the right as what the connector brings.
    let physical = |index: usize| match index.checked_sub(width).map(|index| &table.columns[index]) {
        None => column(index),
        Some(ColumnSource::Connector(of_connector)) => column(width + of_connector),
        Some(ColumnSource::Computed(expr)) => substitute(expr, &|index| column(width + index)),
    };
    let both: Vec<FieldRef> = left.fields.iter().chain(table.table.schema.fields().iter()).cloned().collect();
    let schema = indexed(&both);
    let (mut keys, mut residual) = (Vec::new(), Vec::new());
    for condition in conditions {
        let condition = substitute(&condition, &physical);
        let equal = equality(&condition, width).and_then(|(one, other)| Some((one, as_column(&other)?)));
        match equal {
            Some((one, other)) if type_of(&one, &schema)? == type_of(&column(other), &schema)? => {
                keys.push((one, other - width));
            }
            _ => residual.push(condition),
        }
    }
    if keys.is_empty() {
        return Err(refuse(
            "rows are looked up by a key, and no column of the table is equal to something of the left",
            "write ON a.key = t.key, both of one type",
        ));
    }
    let columns = (0..width + right.fields.len()).map(physical).collect();
    let lookup = Lookup { left, table: Arc::clone(table), kind, keys, residual };
    let rel = Rel { kind: RelKind::Lookup(Box::new(lookup)), fields: both };
    Ok(Rel::calc(rel, None, columns, fields))
}
